#include <string.h>

#include "cli/option.h"
#include "conf/generate.h"

/* The fixed parts; the tables fill in what @…@ stands for, each @ on a line of its own. */
static const char script[] =
    "# bash completion for pgdr, made from the tables of its commands and options.\n"
    "\n"
    "# The names of the configured sections of one kind.\n"
    "_pgdr_names()\n"
    "{\n"
    "    sed -n \"s/^[[:blank:]]*\\\\[$1[[:blank:]][[:blank:]]*\\\\([^]]*\\\\)\\\\].*/\\\\1/p\" "
    "\\\n"
    "        \"${PGDR_CONFIG:-" CONFIG_PATH "}\" 2>/dev/null\n"
    "}\n"
    "\n"
    "# What may follow an option that takes a value: fills COMPREPLY.\n"
    "_pgdr_value()\n"
    "{\n"
    "    local command=$1 option=$2 word=$3\n"
    "    case \"$command $option\" in\n"
    "@values@\n"
    "    esac\n"
    "}\n"
    "\n"
    "_pgdr()\n"
    "{\n"
    "    local word=${COMP_WORDS[COMP_CWORD]} last='' option='' command='' i words=()\n"
    "    COMPREPLY=()\n"
    "\n"
    "    # \"=\" is a word of its own, unless it was taken out of COMP_WORDBREAKS.\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        last=${COMP_WORDS[i]}\n"
    "        case $last in\n"
    "@valued@\n"
    "            [[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))\n"
    "            ((i++))\n"
    "            ((i >= COMP_CWORD)) && option=$last\n"
    "            ;;\n"
    "        -*) ;;\n"
    "        *) words+=(\"$last\") ;;\n"
    "        esac\n"
    "    done\n"
    "    command=${words[0]}\n"
    "    case $command in\n"
    "@groups@\n"
    "    esac\n"
    "\n"
    "    [[ $word == = ]] && word=''\n"
    "    if [[ $word == --*=* ]]; then\n"
    "        option=${word%%=*}\n"
    "        _pgdr_value \"$command\" \"$option\" \"${word#*=}\"\n"
    "        COMPREPLY=(\"${COMPREPLY[@]/#/$option=}\")\n"
    "    elif [[ -n $option ]]; then\n"
    "        _pgdr_value \"$command\" \"$option\" \"$word\"\n"
    "    elif [[ $word == -* ]]; then\n"
    "        local opts=''\n"
    "        case $command in\n"
    "@options@\n"
    "        esac\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$opts\" -- \"$word\")\n"
    "        [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace "
    "2>/dev/null\n"
    "    else\n"
    "        case $command in\n"
    "@commands@\n"
    "        *) mapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;\n"
    "        esac\n"
    "    fi\n"
    "    return 0\n"
    "} &&\n"
    "    complete -F _pgdr pgdr\n";

static void words_reply(Buf *out, const char *indent, const char *pattern, const char *words)
{
    buf_printf(out, "%s%s) mapfile -t COMPREPLY < <(compgen -W \"%s\" -- \"$word\") ;;\n", indent,
               pattern, words);
}

static void choices_reply(Buf *out, const Option *o, const char *pattern)
{
    Buf words AUTO(buf_release) = {0};
    for (size_t c = 0; o->choices[c]; c++)
        buf_printf(&words, "%s%s", c ? " " : "", o->choices[c]);
    words_reply(out, "    ", pattern, buf_str(&words));
}

/* Whether another option has the same name, so that the command must tell them apart. */
static bool name_is_shared(OptId id)
{
    for (int i = 0; i < OPT_COUNT; i++)
        if ((OptId)i != id && strcmp(options[i].name, options[id].name) == 0)
            return true;
    return false;
}

static void append_values(Buf *out)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        const Option *o = &options[i];
        char *any AUTO(mem_freep) = mem_printf("*\" --%s\"", o->name);
        if (o->type == TYPE_CHOICE && !name_is_shared((OptId)i))
            choices_reply(out, o, any);
        for (int c = 0; o->type == TYPE_CHOICE && name_is_shared((OptId)i) && c < CMD_COUNT; c++) {
            char *one AUTO(mem_freep) = mem_printf("\"%s --%s\"", commands[c].name, o->name);
            if (option_taken((OptId)i, (CommandId)c))
                choices_reply(out, o, one);
        }
        if (o->type == TYPE_NAME) {
            char *names AUTO(mem_freep) = mem_printf("$(_pgdr_names %s)", o->name);
            words_reply(out, "    ", any, names);
        }
        if (o->type == TYPE_PATH || o->type == TYPE_URL)
            buf_printf(out,
                       "    %s)\n"
                       "        compopt -o filenames 2>/dev/null\n"
                       "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
                       "        ;;\n",
                       any);
    }
}

static void append_valued(Buf *out)
{
    bool first = true;
    for (int i = 0; i < OPT_COUNT; i++) {
        bool again = option_find(options[i].name, strlen(options[i].name), CMD_COUNT) != (OptId)i;
        if (!option_takes_value((OptId)i) || options[i].secret || again)
            continue;
        buf_printf(out, first ? "        --%s" : " | \\\n            --%s", options[i].name);
        first = false;
    }
    buf_append_str(out, ")\n");
}

static void append_groups(Buf *out)
{
    for (int i = 0; i < CMD_COUNT; i++) {
        const char *name = commands[i].name;
        size_t len = strcspn(name, " ");
        if (!name[len])
            continue;
        buf_printf(out, "    %.*s) command=${words[*]:0:2} ;;\n", (int)len, name);
        while (i + 1 < CMD_COUNT && strncmp(commands[i + 1].name, name, len + 1) == 0)
            i++;
    }
}

static void append_options(Buf *out)
{
    for (int c = 0; c <= CMD_COUNT; c++) {
        buf_printf(out, "        %s%s%s) opts=\"", c < CMD_COUNT ? "\"" : "",
                   c < CMD_COUNT ? commands[c].name : "*", c < CMD_COUNT ? "\"" : "");
        size_t line = out->len;
        for (int i = 0; i < OPT_COUNT; i++) {
            bool taken = c < CMD_COUNT ? option_taken((OptId)i, (CommandId)c)
                                       : options[i].commands & ANY_COMMAND;
            if (!taken || options[i].secret)
                continue;
            if (out->len - line > 60) {
                buf_append_str(out, "\n            ");
                line = out->len;
            }
            buf_printf(out, "%s--%s%s", out->len > line ? " " : "", options[i].name,
                       option_takes_value((OptId)i) ? "=" : "");
        }
        buf_append_str(out, "\" ;;\n");
    }
}

static void append_commands(Buf *out)
{
    Buf first AUTO(buf_release) = {0};
    for (int i = 0; i < CMD_COUNT; i++) {
        const char *name = commands[i].name;
        size_t len = strcspn(name, " ");
        if (i && strncmp(commands[i - 1].name, name, len) == 0 && commands[i - 1].name[len] == ' ')
            continue; /* the next one of a group */
        buf_printf(&first, "%s%.*s", first.len ? " " : "", (int)len, name);
        if (!name[len])
            continue;
        Buf second AUTO(buf_release) = {0};
        for (int k = 0; k < CMD_COUNT; k++)
            if (strncmp(commands[k].name, name, len + 1) == 0)
                buf_printf(&second, "%s%s", second.len ? " " : "", commands[k].name + len + 1);
        char *pattern AUTO(mem_freep) = mem_strndup(name, len);
        words_reply(out, "        ", pattern, buf_str(&second));
    }
    words_reply(out, "        ", "\"\"", buf_str(&first));
    words_reply(out, "        ", "help", buf_str(&first));
}

void generate_completion(Buf *out)
{
    static const struct {
        const char *mark;
        void (*append)(Buf *out);
    } parts[] = {{"@values@\n", append_values},
                 {"@valued@\n", append_valued},
                 {"@groups@\n", append_groups},
                 {"@options@\n", append_options},
                 {"@commands@\n", append_commands}};
    const char *p = script;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        const char *mark = strstr(p, parts[i].mark);
        buf_append(out, p, (size_t)(mark - p));
        parts[i].append(out);
        p = mark + strlen(parts[i].mark);
    }
    buf_append_str(out, p);
}
