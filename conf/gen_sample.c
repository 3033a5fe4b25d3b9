#include "cli/option.h"
#include "cli/wrap.h"
#include "conf/generate.h"

#define SAMPLE_WIDTH 90

static const char head[] =
    "# The configuration of pgdr, read from " CONFIG_PATH " unless --config or PGDR_CONFIG names\n"
    "# another file. It may be the same on every host.\n"
    "#\n"
    "# - A setting is one line: key = value. The value is all that stands behind '=' up to the "
    "end\n"
    "#   of the line, without the blanks around it. There are no quotes, and no comments behind a\n"
    "#   value: '#' and ';' there belong to it. A comment has a line of its own, like this one.\n"
    "# - Sizes take B, KiB, MiB, GiB, TiB (powers of 1024). Durations need their unit: ms, s, min, "
    "h,\n"
    "#   d, w. Switches are y or n. Paths are absolute.\n"
    "# - An unknown key or section is an error.\n"
    "# - The command line (--key=value) goes before the environment (PGDR_KEY, or for one "
    "repository\n"
    "#   PGDR_REPO_NAME_KEY), the environment before this file, this file before the default.\n"
    "#   `pgdr config` shows what is in effect, and why.\n"
    "# - When secrets stand here, keep the file from others: chmod 640, group postgres.\n"
    "#\n"
    "# Lines that begin with '#key =' show the default, or an example where there is none.\n";

static void sample_option(Buf *out, OptId id)
{
    const Option *o = &options[id];
    buf_append_str(out, "\n# ");
    wrap_append(out, o->text, 2, "# ", SAMPLE_WIDTH);
    if (o->choices) {
        buf_append_str(out, "# Values:");
        for (size_t i = 0; o->choices[i]; i++)
            buf_printf(out, "%s %s", i ? "," : "", o->choices[i]);
        buf_append_str(out, "\n");
    }
    if (o->def_text)
        buf_printf(out, "# Default: %s.\n", o->def_text);
    else if (!o->def)
        buf_append_str(out, "# Not set by default.\n");
    buf_printf(out, "%s%s = %s\n", o->in_use ? "" : "#", o->name, o->def ? o->def : o->sample);
}

void generate_sample(Buf *out)
{
    static const struct {
        OptScope scope;
        const char *title;
    } sections[] = {
        {IN_GLOBAL, "\n[global]\n"},
        {IN_REPO,
         "\n\n# Where backups and WAL are kept. There may be several, each under a name of "
         "its own: WAL\n# goes to all of them, a backup to the first one or to --repo.\n"
         "[repo main]\n"},
        {IN_CLUSTER, "\n\n# A PostgreSQL cluster. With only one, --cluster=NAME may be left out.\n"
                     "[cluster app]\n"},
    };
    buf_append_str(out, head);
    for (size_t s = 0; s < ARRAY_LEN(sections); s++) {
        buf_append_str(out, sections[s].title);
        for (int i = 0; i < OPT_COUNT; i++)
            if (options[i].scope == sections[s].scope)
                sample_option(out, (OptId)i);
    }
}
