#ifndef PGDR_COMMON_PROCID_H
#define PGDR_COMMON_PROCID_H

/*
 * Telling whether a process that left its mark somewhere still runs. A mark is text: the boot of
 * the machine, the namespace in which the pid counts, the pid, and when the process started in that
 * boot (proc(5): /proc/sys/kernel/random/boot_id, /proc/PID/ns/pid, field 22 of /proc/PID/stat).
 */

#include <stdbool.h>

#define PROCID_MAX 128

/* This process's mark; "" when the system does not tell. */
void procid_self(char out[PROCID_MAX]);
/* The mark of a running process of the same namespace; "" when there is none with this pid. */
void procid_of(long pid, char out[PROCID_MAX]);
/* True when it is certain that the process is gone: it ran in this boot and namespace, and no
 * process has its pid and start now. False for any other machine's, and for text that is no mark.
 */
bool procid_is_gone(const char *mark);

#endif
