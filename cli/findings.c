#include "cli/findings.h"

static json_t *json_list(const StrList *list)
{
    json_t *array = json_array();
    for (size_t i = 0; list && i < list->n; i++)
        json_array_append_new(array, out_json_text(list->at[i]));
    return array;
}

static json_t *json_text_or_null(const char *text)
{
    return text ? out_json_text(text) : json_null();
}

void out_findings_begin(Output *out)
{
    if (!json_object_get(out_doc(out), "findings"))
        json_object_set_new(out_doc(out), "findings", json_array());
}

static void print_list(Output *out, const char *what, const StrList *list)
{
    if (!list || !list->n)
        return;
    Buf line AUTO(buf_release) = {0};
    for (size_t i = 0; i < list->n; i++) {
        buf_append_str(&line, i ? ", " : "");
        out_append_clean(&line, list->at[i]);
    }
    out_text(out, "    %s: %s\n", what, buf_str(&line));
}

void out_finding(Output *out, const OutFinding *f)
{
    Buf line AUTO(buf_release) = {0};
    if (f->object) {
        out_append_clean(&line, f->object);
        buf_append_str(&line, ": ");
    }
    out_append_clean(&line, f->problem);
    out_text(out, "%s %s\n", f->warning ? "warning:" : "ERROR:  ", buf_str(&line));
    print_list(out, "backups", f->backups);
    print_list(out, "recovery windows", f->windows);
    if (f->hint)
        out_text(out, "    HINT: %s\n", f->hint);

    json_t *j = json_object();
    json_object_set_new(j, "severity", json_string(f->warning ? "warning" : "error"));
    json_object_set_new(j, "object", json_text_or_null(f->object));
    json_object_set_new(j, "problem", out_json_text(f->problem));
    json_object_set_new(j, "hint", json_text_or_null(f->hint));
    json_object_set_new(j, "backups", json_list(f->backups));
    json_object_set_new(j, "windows", json_list(f->windows));
    out_findings_begin(out);
    json_array_append_new(json_object_get(out_doc(out), "findings"), j);
}
