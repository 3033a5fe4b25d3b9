#include "cli/fingerprint.h"

#include <string.h>

/* With its end, so that no two lists of texts are the same row of bytes. */
static void add_text(Buf *all, const char *text)
{
    if (text)
        buf_append(all, text, strlen(text) + 1);
    else
        buf_append(all, "\1", 2);
}

static void add_section(Buf *all, const Section *section)
{
    add_text(all, section ? section->name : NULL);
    for (int i = 0; section && i < OPT_COUNT; i++)
        if (i != OPT_HELPER)
            add_text(all, section->at[i].text);
}

void cli_fingerprint(const Cli *cli, uint8_t out[XXH128_LEN])
{
    const Settings *s = cli->settings;
    Buf all AUTO(buf_release) = {0};
    add_text(&all, PACKAGE_VERSION);
    add_text(&all, cli->command->name);
    add_text(&all, getenv("HOME")); /* where shared credentials are looked for */
    add_section(&all, &s->global);
    add_section(&all, s->cluster);
    for (size_t i = 0; i < s->used.n; i++)
        add_section(&all, s->used.at[i]);
    xxh128_of(all.data, all.len, out);
    secret_wipe(all.data, all.len);
}
