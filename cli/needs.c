#include "cli/needs.h"

#include "lib/common/buf.h"

static ErrCode need_cluster(const Settings *s, const Command *command, Err *err)
{
    if (s->cluster)
        return ERR_OK;
    if (!s->clusters.n) {
        err_set(err, ERR_CONFIG, "%s needs a cluster, and none is configured", command->name);
        return err_hint(err, "%s [cluster NAME] to '%s', or say --cluster=NAME",
                        s->file_exists ? "add" : "write", s->file);
    }
    Buf list AUTO(buf_release) = {0};
    for (size_t i = 0; i < s->clusters.n; i++)
        buf_printf(&list, "%s%s", i ? ", " : "", s->clusters.at[i]->name);
    err_set(err, ERR_USAGE, "which cluster is meant? there are %s", buf_str(&list));
    return err_hint(err, "add --cluster=%s", s->clusters.at[0]->name);
}

static ErrCode need_repo(const Settings *s, const Command *command, Err *err)
{
    if (!s->used.n) {
        err_set(err, ERR_CONFIG, "%s needs a repository, and none is configured", command->name);
        return err_hint(err, "%s [repo main] with its url to '%s', or say --url=DIR",
                        s->file_exists ? "add" : "write", s->file);
    }
    for (size_t i = 0; i < s->used.n; i++) {
        const Section *repo = s->used.at[i];
        if (repo->at[OPT_URL].text)
            continue;
        if (repo->line)
            err_set(err, ERR_CONFIG, "the repository %s has no url (in %s line %d)", repo->name,
                    s->file, repo->line);
        else
            err_set(err, ERR_CONFIG, "the repository %s has no url", repo->name);
        return err_hint(err, "add url = DIRECTORY or url = s3://BUCKET/PREFIX");
    }
    return ERR_OK;
}

ErrCode settings_check(const Settings *s, CommandId id, Err *err)
{
    const Command *command = &commands[id];
    if (command->needs & NEEDS_CLUSTER)
        TRY(need_cluster(s, command, err));
    if (command->needs & NEEDS_REPO)
        TRY(need_repo(s, command, err));
    return ERR_OK;
}
