#ifndef PGDR_PG_LIBPQ_H
#define PGDR_PG_LIBPQ_H

/*
 * libpq, loaded when it is first needed (see lib/common/dynlib.h) and never linked: call
 * lib->PQstatus(…). For lib/pg/conn and for those that speak the replication protocol.
 */

#include <libpq-fe.h>

#include "lib/common/err.h"

/* All of them are in libpq 13. */
#define LIBPQ_FUNCTIONS(F)                                                                         \
    F(PQcancel)                                                                                    \
    F(PQclear)                                                                                     \
    F(PQconnectPoll)                                                                               \
    F(PQconnectStartParams)                                                                        \
    F(PQconnectionNeedsPassword)                                                                   \
    F(PQconsumeInput)                                                                              \
    F(PQdb)                                                                                        \
    F(PQerrorMessage)                                                                              \
    F(PQfinish)                                                                                    \
    F(PQflush)                                                                                     \
    F(PQfreeCancel)                                                                                \
    F(PQfreemem)                                                                                   \
    F(PQgetCancel)                                                                                 \
    F(PQgetCopyData)                                                                               \
    F(PQgetResult)                                                                                 \
    F(PQgetisnull)                                                                                 \
    F(PQgetlength)                                                                                 \
    F(PQgetvalue)                                                                                  \
    F(PQhost)                                                                                      \
    F(PQisBusy)                                                                                    \
    F(PQnfields)                                                                                   \
    F(PQntuples)                                                                                   \
    F(PQparameterStatus)                                                                           \
    F(PQport)                                                                                      \
    F(PQputCopyData)                                                                               \
    F(PQputCopyEnd)                                                                                \
    F(PQresultErrorField)                                                                          \
    F(PQresultErrorMessage)                                                                        \
    F(PQresultStatus)                                                                              \
    F(PQsendQuery)                                                                                 \
    F(PQsendQueryParams)                                                                           \
    F(PQserverVersion)                                                                             \
    F(PQsetErrorVerbosity)                                                                         \
    F(PQsetNoticeReceiver)                                                                         \
    F(PQsetnonblocking)                                                                            \
    F(PQsocket)                                                                                    \
    F(PQstatus)                                                                                    \
    F(PQuser)

typedef struct LibPq {
#define LIBPQ_MEMBER(fn) __typeof__(fn) *fn;
    LIBPQ_FUNCTIONS(LIBPQ_MEMBER)
#undef LIBPQ_MEMBER
} LibPq;

/* ERR_CONFIG with the package to install when there is none. */
MUST_CHECK ErrCode libpq_load(LibPq *ret, Err *err);

#endif
