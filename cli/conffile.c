#include "cli/conffile.h"

#include <ctype.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "lib/common/file.h"

/* What inih holds without cutting, whatever its build: 50 bytes with the final NUL. */
#define INI_NAME_MAX 49

typedef struct Reader {
    const char *path;
    const char *next, *end; /* what is left of the file */
    int line;               /* number of the last line taken */
    char text[CONF_LINE_MAX + 1];
    char *value; /* points into `text` */
    ConfFile *out;
    Err *err;
    ErrCode rc;
} Reader;

static void reader_fail(Reader *r, const char *what, const char *hint)
{
    r->rc = err_set(r->err, ERR_CONFIG, "%s (in %s line %d)", what, r->path, r->line);
    if (hint)
        err_hint(r->err, "%s", hint);
}

/* Takes the next line without white space around it. False at the end, or after a failure. */
static bool reader_line(Reader *r)
{
    if (r->rc != ERR_OK || r->next == r->end)
        return false;
    r->line++;
    const char *start = r->next, *stop = memchr(start, '\n', (size_t)(r->end - start));
    r->next = stop ? stop + 1 : r->end;
    if (!stop)
        stop = r->end;
    if (r->line == 1 && stop - start >= 3 && memcmp(start, "\xef\xbb\xbf", 3) == 0)
        start += 3;
    while (start < stop && strchr(" \t\r", *start) && *start)
        start++;
    while (stop > start && strchr(" \t\r", stop[-1]) && stop[-1])
        stop--;
    if (stop - start > CONF_LINE_MAX) {
        reader_fail(r, "the line is longer than 8192 bytes", NULL);
        return false;
    }
    for (const char *p = start; p < stop; p++) {
        if ((unsigned char)*p < 0x20 && *p != '\t') {
            reader_fail(r, "there is a control character in the line", NULL);
            return false;
        }
    }
    memcpy(r->text, start, (size_t)(stop - start));
    r->text[stop - start] = '\0';
    return true;
}

/* Splits the line at its first '=', with the white space around that removed. */
static bool reader_split(Reader *r, char *key)
{
    char *equals = strchr(r->text, '=');
    if (!equals || equals == r->text)
        return false;
    char *end = equals;
    while (end > r->text && isspace((unsigned char)end[-1]))
        end--;
    for (r->value = equals + 1; isspace((unsigned char)*r->value);)
        r->value++;
    size_t len = (size_t)(end - r->text);
    if (len > INI_NAME_MAX || memchr(r->text, ':', len))
        return false;
    memcpy(key, r->text, len);
    key[len] = '\0';
    return true;
}

static void reader_section(Reader *r, char *line, size_t room)
{
    size_t len = strlen(r->text);
    if (len < 3 || r->text[len - 1] != ']' || strpbrk(r->text + 1, "[;")) {
        reader_fail(r, "a section is written [global], [repo NAME] or [cluster NAME]", NULL);
    } else if (len - 2 > INI_NAME_MAX) {
        reader_fail(r, "the name of the section is too long", NULL);
    } else {
        vec_push(&r->out->entries,
                 (ConfEntry){.section = mem_strndup(r->text + 1, len - 2), .line = r->line});
        snprintf(line, room, "%s\n", r->text);
    }
}

/* inih's reader: gives it one line that is short and clean enough to survive it. */
static char *reader_feed(char *line, int room, void *arg)
{
    Reader *r = arg;
    char key[INI_NAME_MAX + 1];
    if (!reader_line(r))
        return NULL;
    if (!r->text[0] || r->text[0] == '#' || r->text[0] == ';')
        snprintf(line, (size_t)room, "\n");
    else if (r->text[0] == '[')
        reader_section(r, line, (size_t)room);
    else if (reader_split(r, key))
        snprintf(line, (size_t)room, "%s=\n", key);
    else
        reader_fail(r, "the line is neither [section], key = value nor # comment", NULL);
    return r->rc == ERR_OK ? line : NULL;
}

/* Somebody who knows shell or PostgreSQL quotes values; the quotes would become part of them. */
static bool in_quotes(const char *value)
{
    size_t len = strlen(value);
    return len >= 2 && (value[0] == '"' || value[0] == '\'') && value[len - 1] == value[0] &&
           strchr(value + 1, value[0]) == value + len - 1;
}

static int reader_entry(void *arg, const char *section, const char *name, const char *value UNUSED)
{
    Reader *r = arg;
    if (r->rc != ERR_OK)
        return 0;
    if (!section[0]) {
        reader_fail(r, "there is a setting before the first section",
                    "begin with [global], [repo NAME] or [cluster NAME]");
        return 0;
    }
    if (in_quotes(r->value)) {
        reader_fail(r, "the value is in quotes, which would be a part of it",
                    "write the value without the quotes");
        return 0;
    }
    vec_push(&r->out->entries, (ConfEntry){.section = mem_strdup(section),
                                           .key = mem_strdup(name),
                                           .value = mem_strdup(r->value),
                                           .line = r->line});
    return 1;
}

static ErrCode conf_file_load(const char *path, ConfFile *out, Buf *text, Err *err)
{
    int fd AUTO(fd_closep) = -1;
    struct stat st;
    TRY(file_open(path, O_RDONLY, 0, &fd, err));
    if (fstat(fd, &st) != 0)
        return err_set(err, ERR_IO, "cannot look at '%s'", path);
    if (S_ISDIR(st.st_mode))
        return err_set(err, ERR_CONFIG, "'%s' is a directory, not a configuration file", path);
    out->others_can_read = st.st_mode & S_IROTH;
    return file_read_all(path, CONF_FILE_MAX, text, err);
}

ErrCode conf_file_read(const char *path, ConfFile *ret, Err *err)
{
    ConfFile file AUTO(conf_file_release) = {0};
    Buf text AUTO(buf_release) = {0};
    if (conf_file_load(path, &file, &text, err) != ERR_OK)
        return err_wrap(err, "cannot read the configuration");

    Reader *r AUTO(mem_freep) = NEW(Reader);
    r->path = path;
    r->next = text.data ? (const char *)text.data : "";
    r->end = r->next + text.len;
    r->out = &file;
    r->err = err;
    int bad_line = ini_parse_stream(reader_feed, r, reader_entry, r);
    TRY(r->rc);
    if (bad_line)
        return err_set(err, ERR_CONFIG, "the line cannot be read (in %s line %d)", path, bad_line);
    *ret = file;
    file = (ConfFile){0};
    return ERR_OK;
}

void conf_file_release(ConfFile *file)
{
    for (size_t i = 0; i < file->entries.n; i++) {
        free(file->entries.at[i].section);
        free(file->entries.at[i].key);
        free(file->entries.at[i].value);
    }
    vec_release(&file->entries);
}
