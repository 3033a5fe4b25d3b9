#include "catalog/parent.h"

static bool has_shape(const BackupSummary *b, const PgControl *control)
{
    return b->block_size == control->block_size;
}

const BackupSummary *parent_choose(const BackupList *l, const PgControl *control,
                                   const TimelinePath *path, Lsn start, const char **ret_why)
{
    const BackupSummary *parent = NULL;
    BackupRefs on_path AUTO(backup_refs_release) = {0};
    backups_on_path(l, control->system_id, control->wal_segment_size, path, &on_path);
    *ret_why = !backup_count(l)
                   ? (l->broken.n ? "no older backup can be read" : "there is no older backup")
               : !on_path.n ? "no older backup is on this server's way"
                            : "no older backup ends before this one begins";
    for (size_t i = 0; i < on_path.n; i++)
        if (on_path.at[i]->stop_lsn <= start && has_shape(on_path.at[i], control))
            parent = on_path.at[i];
    return parent;
}
