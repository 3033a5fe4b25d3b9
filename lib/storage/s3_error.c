#include "lib/storage/s3_error.h"

#include <stdio.h>
#include <string.h>

#include "lib/storage/xml.h"

/* --- the document --- */

static void keep(char *out, size_t size, const XmlTag *tag)
{
    size_t n = 0;
    for (size_t i = 0; i < tag->text_len && n + 1 < size; i++)
        out[n++] = (unsigned char)tag->text[i] < 0x20 || tag->text[i] == 0x7f ? ' ' : tag->text[i];
    /* Not in the middle of a character. */
    while (n + 1 == size && n && ((unsigned char)out[n - 1] & 0x80))
        n--;
    out[n] = '\0';
}

bool s3_fault_parse(const void *text, size_t len, S3Fault *ret)
{
    XmlReader r AUTO(xml_close);
    XmlTag tag;
    Err ignored;
    *ret = (S3Fault){0};
    xml_open(&r, text, len);
    bool inside = xml_next(&r, &tag, &ignored) == ERR_OK && strcmp(tag.name, "Error") == 0;
    while (inside && xml_next(&r, &tag, &ignored) == ERR_OK && tag.kind != XML_DONE) {
        if (tag.kind != XML_END || tag.depth != 2)
            continue;
        if (strcmp(tag.name, "Code") == 0)
            keep(ret->code, sizeof(ret->code), &tag);
        else if (strcmp(tag.name, "Message") == 0)
            keep(ret->message, sizeof(ret->message), &tag);
        else if (strcmp(tag.name, "Region") == 0)
            keep(ret->region, sizeof(ret->region), &tag);
        else if (strcmp(tag.name, "Endpoint") == 0)
            keep(ret->endpoint, sizeof(ret->endpoint), &tag);
    }
    return inside;
}

/* --- what it means --- */

typedef enum Trouble {
    OTHER,
    KEY_UNKNOWN,
    SIGNATURE_WRONG,
    TOKEN_EXPIRED,
    TOKEN_WRONG,
    CLOCK_WRONG,
    DENIED,
    ARCHIVED,
    NO_BUCKET,
    NO_KEY,
    ELSEWHERE,
    FULL,
    TOO_LARGE,
    NOT_KNOWN,
} Trouble;

typedef struct Known {
    const char *code;
    ErrCode rc;
    Trouble trouble;
} Known;

static const Known known[] = {
    {"SlowDown", ERR_BUSY, OTHER},
    {"ServiceUnavailable", ERR_BUSY, OTHER},
    {"TooManyRequests", ERR_BUSY, OTHER},
    {"TooManyRequestsException", ERR_BUSY, OTHER},
    {"RequestLimitExceeded", ERR_BUSY, OTHER},
    {"BandwidthLimitExceeded", ERR_BUSY, OTHER},
    {"Throttling", ERR_BUSY, OTHER},
    {"ThrottlingException", ERR_BUSY, OTHER},
    {"ThrottledException", ERR_BUSY, OTHER},
    {"OperationAborted", ERR_BUSY, OTHER},
    {"ConditionalRequestConflict", ERR_BUSY, OTHER},
    {"PreconditionFailed", ERR_BUSY, OTHER}, /* replaced between two requests, with V2 */
    {"InternalError", ERR_NETWORK, OTHER},
    {"BadDigest", ERR_NETWORK, OTHER}, /* the body was changed on the way */
    {"XAmzContentSHA256Mismatch", ERR_NETWORK, OTHER},
    {"XAmzContentChecksumMismatch", ERR_NETWORK, OTHER},
    {"IncompleteBody", ERR_NETWORK, OTHER},
    {"RequestTimeout", ERR_TIMEOUT, OTHER},
    {"InvalidAccessKeyId", ERR_AUTH, KEY_UNKNOWN},
    {"InvalidClientTokenId", ERR_AUTH, KEY_UNKNOWN},
    {"SignatureDoesNotMatch", ERR_AUTH, SIGNATURE_WRONG},
    {"ExpiredToken", ERR_AUTH, TOKEN_EXPIRED},
    {"TokenRefreshRequired", ERR_AUTH, TOKEN_EXPIRED},
    {"InvalidToken", ERR_AUTH, TOKEN_WRONG},
    {"InvalidSecurity", ERR_AUTH, TOKEN_WRONG},
    {"RequestTimeTooSkewed", ERR_AUTH, CLOCK_WRONG},
    {"RequestExpired", ERR_AUTH, CLOCK_WRONG},
    {"AccessDenied", ERR_ACCESS, DENIED},
    {"AllAccessDisabled", ERR_ACCESS, DENIED},
    {"AccountProblem", ERR_ACCESS, DENIED},
    {"InvalidObjectState", ERR_ACCESS, ARCHIVED},
    {"NoSuchBucket", ERR_CONFIG, NO_BUCKET}, /* "not found" is said of objects only */
    {"NoSuchKey", ERR_NOT_FOUND, NO_KEY},
    {"NoSuchUpload", ERR_NOT_FOUND, OTHER},
    {"PermanentRedirect", ERR_CONFIG, ELSEWHERE},
    {"TemporaryRedirect", ERR_CONFIG, ELSEWHERE},
    {"Redirect", ERR_CONFIG, ELSEWHERE},
    {"AuthorizationHeaderMalformed", ERR_CONFIG, ELSEWHERE},
    {"IllegalLocationConstraintException", ERR_CONFIG, ELSEWHERE},
    {"QuotaExceeded", ERR_NO_SPACE, FULL},
    {"XMinioStorageFull", ERR_NO_SPACE, FULL},
    {"XMinioAdminBucketQuotaExceeded", ERR_NO_SPACE, FULL},
    {"InsufficientStorageSpace", ERR_NO_SPACE, FULL},
    {"ServiceQuotaExceededException", ERR_NO_SPACE, FULL},
    {"EntityTooLarge", ERR_LIMIT, TOO_LARGE},
    {"NotImplemented", ERR_CONFIG, NOT_KNOWN},
    {"MethodNotAllowed", ERR_CONFIG, NOT_KNOWN},
};

/* Where there is no code, or one that says less than the status. */
static Known by_status(unsigned status)
{
    switch (status) {
    case 301:
    case 302:
    case 307:
    case 308:
        return (Known){"", ERR_CONFIG, ELSEWHERE};
    case 401:
    case 403:
        return (Known){"", ERR_ACCESS, DENIED};
    case 404:
        return (Known){"", ERR_NOT_FOUND, NO_KEY};
    case 408:
    case 504:
        return (Known){"", ERR_TIMEOUT, OTHER};
    case 413:
        return (Known){"", ERR_LIMIT, TOO_LARGE};
    case 429:
    case 503:
        return (Known){"", ERR_BUSY, OTHER};
    case 405:
    case 501:
        return (Known){"", ERR_CONFIG, NOT_KNOWN};
    case 507:
        return (Known){"", ERR_NO_SPACE, FULL};
    default:
        return (Known){"", status >= 500 ? ERR_NETWORK : ERR_CONFIG, OTHER};
    }
}

static Known classify(const S3Fault *fault, const HttpReply *reply)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(known[i].code, fault->code) == 0)
            return known[i];
    /* Whoever says "not found" in other words than S3's does not know about the object. */
    if (reply && reply->status == 404 && !fault->code[0] && reply->body.len)
        return (Known){"", ERR_CONFIG, NOT_KNOWN};
    return by_status(reply ? reply->status : 0);
}

/* --- what to do --- */

static ErrCode hint_elsewhere(const S3 *s, const S3Fault *fault, const HttpReply *reply, Err *err)
{
    const char *region = reply ? http_reply_header(reply, "x-amz-bucket-region") : NULL;
    if (!region && fault->region[0])
        region = fault->region;
    if (region && strcmp(region, s->region) != 0)
        return err_hint(err,
                        "the bucket is in the region %s: set s3-region = %s, and s3-endpoint "
                        "to one of that region or not at all",
                        region, region);
    if (fault->endpoint[0])
        return err_hint(err, "the bucket is at '%s': set s3-endpoint to that", fault->endpoint);
    return err_hint(err, "check s3-region ('%s') and s3-endpoint ('%s') for bucket '%s'", s->region,
                    s->at.server, s->bucket);
}

static ErrCode hint_denied(const S3 *s, const S3Deed *deed, Err *err)
{
    const char *all = strcmp(deed->action, "s3:ListBucket") == 0 ? "" : "/";
    return err_hint(err,
                    "allow the access key '%s' the action %s on arn:aws:s3:::%s%s%s%s, and "
                    "check that s3-key and s3-secret are right: some servers say no more than "
                    "this of a wrong one",
                    s->key, deed->action, s->bucket, all, *all ? s->at.prefix : "",
                    *all ? "*" : "");
}

static ErrCode hint_clock(const HttpReply *reply, Err *err)
{
    TimeUs server = reply ? http_reply_time(reply, "Date") : 0;
    char theirs[TIME_TEXT_LEN], ours[TIME_TEXT_LEN];
    if (!server)
        return err_hint(err, "set this host's clock right");
    return err_hint(err, "set the clocks right: the server's says %s, this host's %s",
                    time_format_utc(server, false, theirs),
                    time_format_utc(time_now(), false, ours));
}

static ErrCode hint(const S3 *s, const S3Deed *deed, const S3Fault *fault, const HttpReply *reply,
                    Trouble trouble, Err *err)
{
    switch (trouble) {
    case KEY_UNKNOWN:
        return err_hint(err, "the server does not know the access key '%s': check s3-key%s", s->key,
                        s->token ? ", and that s3-token belongs to it" : "");
    case SIGNATURE_WRONG:
        return err_hint(err,
                        "s3-secret does not belong to the access key '%s'; or something "
                        "between this host and the server changes requests",
                        s->key);
    case TOKEN_EXPIRED:
        return err_hint(err, "the temporary credentials are no longer valid: get new ones (s3-key, "
                             "s3-secret and s3-token together)");
    case TOKEN_WRONG:
        return err_hint(err,
                        "s3-token does not belong to the access key '%s'; leave it out for a "
                        "key that is not temporary",
                        s->key);
    case CLOCK_WRONG:
        return hint_clock(reply, err);
    case DENIED:
        return hint_denied(s, deed, err);
    case ARCHIVED:
        return err_hint(err, "a lifecycle rule of the bucket has moved the object to an archive: "
                             "restore it there first, and exclude the repository from that rule");
    case NO_BUCKET:
        return err_hint(err, "create the bucket '%s', or check url and s3-endpoint ('%s')",
                        s->bucket, s->at.server);
    case ELSEWHERE:
        return hint_elsewhere(s, fault, reply, err);
    case FULL:
        return err_hint(err, "raise the quota of the user or the bucket, or remove backups that "
                             "are no longer needed");
    case NOT_KNOWN:
        return err_hint(err, "check s3-endpoint ('%s'): is it S3, and all of it?", s->at.server);
    case OTHER:
        if (reply && reply->status == 400 && s->token)
            return err_hint(err, "some servers answer so when s3-token is wrong");
        break;
    case TOO_LARGE:
    case NO_KEY:
        break;
    }
    return err->code;
}

/* --- the message --- */

ErrCode s3_wrap(const S3 *s, const S3Deed *deed, Err *err)
{
    if (!deed->name)
        return err_wrap(err, "cannot %s %s", deed->verb, s->base.url);
    return err_wrap(err, "cannot %s '%s' in %s", deed->verb, deed->name, s->base.url);
}

/* The number under which the server's operators find the request. */
static void append_request_id(Buf *out, const HttpReply *reply)
{
    const char *id = reply ? http_reply_header(reply, "x-amz-request-id") : NULL;
    if (id && strlen(id) < 100)
        buf_printf(out, " (request %s)", id);
}

ErrCode s3_fault_error(const S3 *s, const S3Deed *deed, const S3Fault *fault,
                       const HttpReply *reply, Err *err)
{
    unsigned status = reply ? reply->status : 0;
    Known what = classify(fault, reply);
    Buf text AUTO(buf_release) = {0};
    if (what.trouble == NO_BUCKET)
        buf_printf(&text, "there is no bucket '%s'", s->bucket);
    else if (what.trouble == NO_KEY && (!fault->code[0] || strcmp(fault->code, "NoSuchKey") == 0))
        buf_append_str(&text, "there is no such object");
    else if (status)
        buf_printf(&text, "the server answered %u", status);
    else
        buf_append_str(&text, "the server answered");
    if (fault->code[0] && what.trouble != NO_KEY && what.trouble != NO_BUCKET)
        buf_printf(&text, " %s", fault->code);
    if (fault->message[0] && what.rc != ERR_NOT_FOUND)
        buf_printf(&text, ": %s", fault->message);
    append_request_id(&text, reply);
    err_set(err, what.rc, "%s", buf_str(&text));
    s3_wrap(s, deed, err);
    return hint(s, deed, fault, reply, what.trouble, err);
}
