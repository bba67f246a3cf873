/* Reads checkpoint streams of version 2, written from core/src/checkpoint/FORMAT.md alone. It prints one line for each
 * stream: the verdict (valid, invalid, newer, unsupported version) and, if the stream is valid, its content.
 *
 *     cc -std=c99 -O2 -o reader reader.c
 *     ./reader FILE...      each file contains one stream
 *     ./reader < STREAMS    streams that each follow their length (u32)
 *
 * Names, texts and short byte strings are printed in hexadecimal digits, payloads as their CRC-32. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALID, INVALID, NEWER, UNSUPPORTED };
static const char *const verdicts[] = {"valid", "invalid", "newer", "unsupported version"};

typedef struct { const uint8_t *start; uint32_t length; } bytes;
typedef struct { bytes *items; size_t count, capacity; } set;

static const uint8_t *stream, *at, *end; /* the stream, the next byte, and the end of what may be read */
static jmp_buf refused;
static int verdict, printing; /* a stream is read twice: it is printed when it is known to be valid */
static set object_names, objects, tensors;

static void refuse(int reason) {
    verdict = reason;
    longjmp(refused, 1);
}
static void print(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (printing) vprintf(format, arguments);
    va_end(arguments);
}
static void require(int condition) { if (!condition) refuse(INVALID); }

static uint32_t crc32(const uint8_t *start, size_t length) {
    uint32_t crc = 0xFFFFFFFF;
    for (size_t i = 0; i < length; i++) {
        crc ^= start[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
    }
    return ~crc;
}

/* ------------------------------------------------------------------------------------------------------ notation */

static const uint8_t *take(size_t length) {
    require(length <= (size_t)(end - at));
    at += length;
    return at - length;
}
static uint8_t u8(void) { return *take(1); }
static uint8_t boolean(void) { uint8_t byte = u8(); require(byte <= 1); return byte; }
static uint32_t u32_at(const uint8_t *b) { return b[0] | b[1] << 8 | b[2] << 16 | (uint32_t)b[3] << 24; }

static uint32_t varint(void) {
    uint32_t value = 0;
    for (int shift = 0;; shift += 7) {
        uint8_t byte = u8();
        require(shift < 28 || byte <= 0x0F); /* the fifth byte is the last one and has 4 bits */
        value |= (uint32_t)(byte & 0x7F) << shift;
        if (byte < 0x80) return value;
    }
}
static bytes byte_string(void) {
    bytes b;
    b.length = varint();
    b.start = take(b.length);
    return b;
}
static void print_hex(bytes b) { for (uint32_t i = 0; i < b.length; i++) print("%02x", b.start[i]); }

/* UTF-8 without control characters, slashes and backslashes. */
static bytes name_or_empty(void) {
    bytes b = byte_string();
    require(b.length <= 255);
    for (uint32_t i = 0; i < b.length;) {
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        uint32_t c = b.start[i++];
        uint32_t more = c < 0x80 ? 0 : c >> 5 == 6 ? 1 : c >> 4 == 14 ? 2 : c >> 3 == 30 ? 3 : 4;
        require(more < 4 && more <= b.length - i);
        if (more) c &= 0x3F >> more;
        for (uint32_t n = 0; n < more; n++, i++) {
            require(b.start[i] >> 6 == 2);
            c = c << 6 | (b.start[i] & 0x3F);
        }
        require(c >= least[more] && c <= 0x10FFFF && !(c >= 0xD800 && c <= 0xDFFF));
        require(c >= 0x20 && !(c >= 0x7F && c <= 0x9F) && c != '/' && c != '\\');
    }
    return b;
}
static bytes name(void) { bytes b = name_or_empty(); require(b.length > 0); return b; }

static int compare(bytes a, bytes b) {
    int order = memcmp(a.start, b.start, a.length < b.length ? a.length : b.length);
    return order ? order : (a.length > b.length) - (a.length < b.length);
}
static int compare_items(const void *a, const void *b) { return compare(*(const bytes *)a, *(const bytes *)b); }
static int has_duplicates(set *s) {
    if (s->count) qsort(s->items, s->count, sizeof *s->items, compare_items);
    for (size_t i = 1; i < s->count; i++) if (!compare(s->items[i - 1], s->items[i])) return 1;
    return 0;
}
static void add(set *s, bytes b) {
    if (s->count == s->capacity) {
        s->capacity = 2 * s->capacity + 16;
        s->items = realloc(s->items, s->capacity * sizeof *s->items);
        if (!s->items) abort();
    }
    s->items[s->count++] = b;
}

/* --------------------------------------------------------------------------------------------------- the structure */

static void read_extensions(void) {
    uint32_t run = 0, rule = 0, model = 0, save_id = 0, last_id = 0;
    bytes series = {0, 0}, writer = {0, 0};
    for (uint32_t n = varint(); n > 0; n--) {
        uint32_t id = varint();
        require(id > last_id);
        last_id = id;
        if (boolean() && id > 3) refuse(NEWER);
        bytes data = byte_string();
        if (id > 3) continue;
        const uint8_t *next = at, *stream_end = end;
        at = data.start;
        end = next; /* nothing is read beyond the data of the extension */
        if (id == 1) {
            run = varint();
            series = name_or_empty();
            rule = u8();
            if (rule > 1) refuse(NEWER);
            model = varint();
            save_id = varint();
        } else if (id == 2) {
            bytes last = {stream, 0};
            for (uint32_t m = varint(); m > 0; m--) {
                bytes key = name();
                require(compare(key, last) > 0); /* no name is empty, so the first one is greater */
                last = key;
                print(" metadata="), print_hex(key), print(":"), print_hex(byte_string());
            }
        } else {
            writer = name_or_empty();
        }
        require(at == end);
        end = stream_end;
    }
    print(" run_number=%u series=", run), print_hex(series);
    print(" rule=%u model=%u save_id=%u writer=", rule, model, save_id), print_hex(writer);
}

static void read_run(void) {
    uint32_t phase = varint();
    if (phase > 10) refuse(NEWER);
    print("%u", phase);
    for (int n = 0; n < 5; n++) print(",%u", varint()); /* epoch, iteration, offset, data_offset, epoch_length */
    if (boolean()) print(",%u", varint()); else print(",-");
    if (boolean()) {
        uint32_t reason = varint();
        if (reason > 10) refuse(NEWER);
        print(",%u", reason);
        if (reason == 5) print(":%u", u8());
    } else print(",-");
    print(",%u", boolean());
    uint8_t count = u8();
    require(count <= 32);
    for (; count > 0; count--) {
        uint8_t kind = u8();
        bytes state;
        const uint8_t *tag = take(2);
        state.length = u8();
        require(state.length <= 127);
        state.start = take(state.length);
        print(" handler=%u,%u,", kind, tag[0] | tag[1] << 8), print_hex(state);
    }
}

static void read_tensor(void) {
    static const uint8_t sizes[] = {4, 8, 2, 2, 1, 1, 2, 2, 4, 4, 8, 8, 1};
    enum { BOOL = 12 };
    bytes tensor_name = name();
    add(&tensors, tensor_name);
    uint8_t type = u8();
    if (type > BOOL) refuse(NEWER);
    print(" tensor="), print_hex(tensor_name), print(",%u,", type);
    uint32_t rank = varint(), zero = 0;
    uint64_t elements = 1;
    require(rank <= 6);
    for (uint32_t n = 0; n < rank; n++) {
        uint32_t dimension = varint();
        print(n ? "x%u" : "%u", dimension);
        if (dimension == 0) zero = 1;
        else if (elements <= UINT32_MAX) elements *= dimension; /* more elements than that do not fit in any stream */
    }
    uint8_t pad = u8();
    require(pad < sizes[type]);
    for (; pad > 0; pad--) require(u8() == 0);
    bytes data = byte_string();
    require((size_t)(data.start - stream) % sizes[type] == 0);
    require(data.length % sizes[type] == 0 && data.length / sizes[type] == (zero ? 0 : elements));
    if (type == BOOL) for (uint32_t n = 0; n < data.length; n++) require(data.start[n] <= 1);
    print(",%08x", printing ? crc32(data.start, data.length) : 0);
}

static void read_stream(const uint8_t *start, size_t file_length) {
    stream = at = start;
    end = start + file_length;
    object_names.count = objects.count = 0;
    require(!memcmp(take(4), "TMCK", 4));
    if (u8() != 2) refuse(UNSUPPORTED);
    uint32_t length = u32_at(take(4));
    require(length <= file_length && length >= 9 + 4);
    end = stream + length - 4; /* the crc */
    require(crc32(stream, length - 4) == u32_at(end));
    uint32_t step = varint(), sequence = varint(), iteration = varint();
    print(" step=%u sequence=%u iteration=%u score=", step, sequence, iteration);
    if (boolean()) {
        uint32_t score = u32_at(take(4));
        require((score & 0x7FFFFFFF) <= 0x7F800000); /* not NaN */
        print("%08x", score);
    } else print("-");
    print(" score_name=");
    if (boolean()) print_hex(name()); else print("-");
    print(" object_names=");
    for (uint32_t n = varint(), i = 0; i < n; i++) {
        add(&object_names, name());
        if (i) print(",");
        print_hex(object_names.items[i]);
    }
    read_extensions();
    print(" run=");
    if (boolean()) read_run(); else print("-");
    uint32_t count = varint();
    int names_valid = 1;
    require(object_names.count ? count == 1 : count > 0);
    for (; count > 0; count--) {
        bytes object = name();
        add(&objects, object);
        print(" object="), print_hex(object);
        uint8_t kind = u8();
        require(kind <= 1);
        if (kind == 1) {
            bytes value = byte_string();
            print(" value=%u,%08x", value.length, printing ? crc32(value.start, value.length) : 0);
            continue;
        }
        tensors.count = 0;
        for (uint32_t n = varint(); n > 0; n--) read_tensor();
        names_valid &= !has_duplicates(&tensors);
    }
    require(at == end);
    /* The rules of several names, and the end of the file. */
    int listed = !object_names.count;
    for (size_t i = 0; i < object_names.count; i++) listed |= !compare(object_names.items[i], objects.items[0]);
    require(listed && names_valid && !has_duplicates(&objects) && !has_duplicates(&object_names));
    require(length == file_length);
}

static void print_verdict(const uint8_t *start, size_t length) {
    verdict = VALID;
    printing = 0;
    if (setjmp(refused) == 0) read_stream(start, length);
    fputs(verdicts[verdict], stdout);
    printing = verdict == VALID;
    if (printing) read_stream(start, length);
    putchar('\n');
}

static uint8_t *read_input(FILE *file, size_t length) {
    uint8_t *buffer = malloc(length + 1);
    if (!buffer || fread(buffer, 1, length, file) != length) abort();
    return buffer;
}

int main(int argc, char **argv) {
    uint8_t prefix[4];
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file || fseek(file, 0, SEEK_END)) { perror(argv[i]); return 1; }
        size_t length = (size_t)ftell(file);
        rewind(file);
        uint8_t *buffer = read_input(file, length);
        print_verdict(buffer, length);
        free(buffer);
        fclose(file);
    }
    while (argc == 1 && fread(prefix, 1, 4, stdin) == 4) {
        uint8_t *buffer = read_input(stdin, u32_at(prefix));
        print_verdict(buffer, u32_at(prefix));
        free(buffer);
    }
    return 0;
}
