#ifndef PGDR_REPO_FORMAT_H
#define PGDR_REPO_FORMAT_H

/*
 * Bytes on the medium; docs/repository-format.md is the specification. Every object is a legal
 * zstd stream (what is not data lies in skippable frames), little endian:
 *
 *     ObjectHeader | unit… | table | ObjectFooter
 *
 * A unit is a zstd frame, or, sealed, FRAME_SEALED | u32 length | ciphertext | 16-byte tag.
 * The table is FRAME_TABLE | u32 length | sections (sealed like a unit when the object is).
 */

#include <stdint.h>

#define FRAME_HEADER 0x184D2A50u
#define FRAME_TABLE 0x184D2A51u
#define FRAME_FOOTER 0x184D2A52u
#define FRAME_SEALED 0x184D2A5Eu
#define FRAME_PREFIX_LEN 8 /* magic and length of a skippable frame */

#define FORMAT_VERSION 1
/* A reader refuses an object with an incompat bit it does not know. None is defined yet. */
#define FORMAT_INCOMPAT_KNOWN 0u

/* The first eight bytes of an object's own part of the header: its kind. */
#define KIND_PACK "PGDRPACK"     /* frames of pages and of small files */
#define KIND_MAPS "PGDRMAPS"     /* file maps */
#define KIND_WAL "PGDRWAL1"      /* one file of pg_wal with its index */
#define KIND_TAIL "PGDRTAIL"     /* the beginning of a segment that is not finished */
#define KIND_MANIFEST "PGDRMANI" /* JSON lines */
#define KIND_PACKS "PGDRPLST"    /* JSON lines */
#define KIND_SUMMARY "PGDRSUMM"  /* JSON */
#define KIND_TRASH "PGDRTRSH"    /* JSON lines */
#define KIND_MARK "PGDRMARK"     /* JSON: tombstones, keeps, freezes, fences, claims, leases */
#define KIND_KEY "PGDRKEYS"      /* JSON, never sealed */
#define KIND_LEN 8

#define FOOTER_MAGIC "PGDREND1"

enum { CIPHER_NONE = 0, CIPHER_AES_256_GCM = 1 };

#define REPO_ID_LEN 16
#define KEY_ID_LEN 8
#define SALT_LEN 32

typedef struct __attribute__((packed)) ObjectHeader {
    uint32_t frame_magic; /* FRAME_HEADER */
    uint32_t frame_len;   /* of what follows */
    char kind[KIND_LEN];
    uint16_t version, incompat, compat;
    uint8_t cipher, zero;
    uint8_t repo_id[REPO_ID_LEN];
    uint8_t key_id[KEY_ID_LEN];
    uint8_t salt[SALT_LEN]; /* of this object's key; random also when nothing is sealed */
    uint64_t created_us;    /* the writer's clock */
    uint32_t crc;           /* CRC-32C of all before */
} ObjectHeader;

/* Repeats what is needed to read the table, so that one read from the end is enough. */
typedef struct __attribute__((packed)) ObjectFooter {
    uint32_t frame_magic; /* FRAME_FOOTER */
    uint32_t frame_len;
    char kind[KIND_LEN];
    uint16_t version, incompat, compat;
    uint8_t cipher, zero;
    uint8_t key_id[KEY_ID_LEN];
    uint8_t salt[SALT_LEN];
    uint64_t table_off; /* of its skippable frame */
    uint32_t table_len; /* with its 8 bytes of prefix */
    uint32_t units;
    uint64_t slots;
    uint8_t sha256[32]; /* of every byte before the footer */
    uint32_t crc;       /* CRC-32C of the footer before this field */
    char magic[8];      /* FOOTER_MAGIC */
} ObjectFooter;

_Static_assert(sizeof(ObjectHeader) == 92, "the header is 92 bytes");
_Static_assert(sizeof(ObjectFooter) == 132, "the footer is 132 bytes");

/* Sections of a table: u8 type, varint length, bytes. An unknown type is passed over. */
enum {
    SECTION_LEN = 1,     /* stored length of each unit: varints */
    SECTION_SLOTS = 2,   /* pairs of varints: units, slots a unit; 0 slots: small files */
    SECTION_FILES = 3,   /* a zstd frame: varint n, n × (varint length, path) */
    SECTION_OWNER = 4,   /* who the slots and small files belong to */
    SECTION_HASH = 5,    /* u64 page_hash() a slot; one a small file */
    SECTION_IDS = 6,     /* map packs: varint n, n × backup id (varint length, text) */
    SECTION_PAGE = 7,    /* data packs: varint, bytes of a page */
    SECTION_FRAG = 10,   /* WAL: head and tail fragment */
    SECTION_TIME = 11,   /* WAL: commits and aborts */
    SECTION_EVENT = 12,  /* WAL: restore points, checkpoints, tablespaces, … */
    SECTION_BLOCKS = 13, /* WAL: changed blocks */
    SECTION_META = 14,   /* WAL: JSON about the file */
};

/* Domains of the nonce: u32 domain, u64 counter. */
enum { DOMAIN_UNIT = 0, DOMAIN_TABLE = 1 };

/* Limits. A reader refuses what is larger before it allocates. */
#define UNIT_RAW_MAX ((size_t)1 << 20)     /* raw bytes of one unit */
#define FRAME_PAGES 16                     /* pages of a unit in a full backup */
#define SMALL_FILE_MAX ((size_t)128 << 10) /* larger files have a map */
#define PACK_STORED_MAX ((size_t)32 << 20) /* one PUT from memory */
#define TABLE_MAX ((size_t)64 << 20)
#define WAL_STORED_MAX ((size_t)1100 << 20) /* a 1 GiB segment that does not compress */
#define DOCUMENT_RAW_MAX ((size_t)1 << 30)
#define BACKUP_ID_LEN 33 /* 20261123T081500Z-9f3a6c1d2b4e5f60 */

#endif
