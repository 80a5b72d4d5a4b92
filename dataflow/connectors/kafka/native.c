/* Records of Kafka to columns and back, without a Python object a record and without Python's lock.
 *
 * Clients stay objects of confluent_kafka, which sets them up, tells their errors and commits. This
 * file uses the librdkafka that is loaded with them, by its public functions alone, declared here
 * because wheels of confluent_kafka carry no header (rdkafka.h, 2.x: names and numbers of its ABI
 * only ever grow).
 *
 * It finds a client's handle as a plugin of librdkafka: `plugin.library.paths` names this very
 * file, librdkafka calls `conf_init`, and then `on_new` in the thread that makes the client.
 *
 * A column is three buffers, as Arrow has them: a bit a record (absent where all are there), 64-bit
 * ends with a 0 in front, and bytes. Behind each value may stand a gap, a line feed, so that values
 * are JSON lines as they are.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* --- librdkafka ------------------------------------------------------------------------------ */

typedef struct rd_kafka_s rd_kafka_t;
typedef struct rd_kafka_conf_s rd_kafka_conf_t;
typedef struct rd_kafka_topic_s rd_kafka_topic_t;
typedef struct rd_kafka_queue_s rd_kafka_queue_t;
typedef struct rd_kafka_headers_s rd_kafka_headers_t;

typedef struct {
    int err;
    rd_kafka_topic_t *rkt;
    int32_t partition;
    void *payload;
    size_t len;
    void *key;
    size_t key_len;
    int64_t offset; /* of an error, too, where it has one */
    void *opaque;
} rd_kafka_message_t;

typedef struct {
    int vtype;
    union {
        rd_kafka_topic_t *rkt;
        int i;
        int64_t i64;
        struct {
            void *ptr;
            size_t size;
        } mem;
        char pad[64];
    } u;
} rd_kafka_vu_t;

typedef int on_new_t(rd_kafka_t *, const rd_kafka_conf_t *, void *, char *, size_t);
typedef int on_acknowledgement_t(rd_kafka_t *, rd_kafka_message_t *, void *);

enum { VTYPE_RKT = 2, VTYPE_VALUE = 4, VTYPE_KEY = 5, VTYPE_MSGFLAGS = 7, VTYPE_TIMESTAMP = 8 };
enum { MSG_F_COPY = 2, PARTITION_ANY = -1, NO_MEMORY = -200 };
enum { PURGED_QUEUED = -152, PURGED_SENT = -151 };

#define FUNCTIONS(F)                                                                              \
    F(int, version, (void))                                                                       \
    F(int, conf_interceptor_add_on_new, (rd_kafka_conf_t *, const char *, on_new_t *, void *))    \
    F(int, interceptor_add_on_acknowledgement,                                                    \
      (rd_kafka_t *, const char *, on_acknowledgement_t *, void *))                               \
    F(rd_kafka_queue_t *, queue_new, (rd_kafka_t *))                                              \
    F(rd_kafka_queue_t *, queue_get_partition, (rd_kafka_t *, const char *, int32_t))             \
    F(void, queue_forward, (rd_kafka_queue_t *, rd_kafka_queue_t *))                              \
    F(void, queue_destroy, (rd_kafka_queue_t *))                                                  \
    F(ssize_t, consume_batch_queue, (rd_kafka_queue_t *, int, rd_kafka_message_t **, size_t))     \
    F(void, message_destroy, (rd_kafka_message_t *))                                              \
    F(const char *, message_errstr, (const rd_kafka_message_t *))                                 \
    F(int64_t, message_timestamp, (const rd_kafka_message_t *, int *))                            \
    F(int, message_headers, (const rd_kafka_message_t *, rd_kafka_headers_t **))                  \
    F(int, header_get_all,                                                                        \
      (const rd_kafka_headers_t *, size_t, const char **, const void **, size_t *))               \
    F(rd_kafka_topic_t *, topic_new, (rd_kafka_t *, const char *, void *))                        \
    F(void, topic_destroy, (rd_kafka_topic_t *))                                                  \
    F(const char *, topic_name, (const rd_kafka_topic_t *))                                       \
    F(int, last_error, (void))                                                                    \
    F(int, produce_batch, (rd_kafka_topic_t *, int32_t, int, rd_kafka_message_t *, int))          \
    F(void *, produceva, (rd_kafka_t *, const rd_kafka_vu_t *, size_t))                           \
    F(int, error_code, (const void *))                                                            \
    F(void, error_destroy, (void *))

static struct {
#define F(result, name, arguments) result(*name) arguments;
    FUNCTIONS(F)
#undef F
} rd;

static int load(void)
{
    PyObject *driver = PyImport_ImportModule("confluent_kafka.cimpl");
    PyObject *file = driver ? PyObject_GetAttrString(driver, "__file__") : NULL;
    const char *path = file ? PyUnicode_AsUTF8(file) : NULL;
    /* Looking names up in the driver finds those of the librdkafka that it is linked to. */
    void *library = path ? dlopen(path, RTLD_NOW | RTLD_NOLOAD) : NULL;
    if (path && !library)
        PyErr_Format(PyExc_ImportError, "%s: %s", path, dlerror());
    Py_XDECREF(file);
    Py_XDECREF(driver);
    if (!library)
        return -1;
#define F(result, name, arguments)                                                                \
    *(void **)&rd.name = dlsym(library, "rd_kafka_" #name);                                       \
    if (!rd.name) {                                                                               \
        PyErr_SetString(PyExc_ImportError, "librdkafka has no rd_kafka_" #name);                  \
        return -1;                                                                                \
    }
    FUNCTIONS(F)
#undef F
    if (rd.version() >> 24 != 2) {
        PyErr_Format(PyExc_ImportError, "librdkafka 2.x is known, found %x", rd.version());
        return -1;
    }
    return 0;
}

/* --- clients --------------------------------------------------------------------------------- */

/* Never freed: records are still given up while a client ends, in threads of its own, and what a
 * client leaves behind are 16 bytes. */
typedef struct {
    rd_kafka_t *rk;
    atomic_int failure; /* why the first record was not taken, or 0 */
} Client;

static _Thread_local Client *newest;

static int on_acknowledgement(rd_kafka_t *rk, rd_kafka_message_t *message, void *opaque)
{
    int none = 0;
    (void)rk;
    /* What is purged was given up with the rest: as when a newer producer has come. */
    if (message->err && message->err != PURGED_QUEUED && message->err != PURGED_SENT)
        atomic_compare_exchange_strong(&((Client *)opaque)->failure, &none, message->err);
    return 0;
}

static int on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque, char *text, size_t size)
{
    (void)conf, (void)opaque, (void)text, (void)size;
    Client *client = newest = calloc(1, sizeof *client);
    if (!client)
        return 0; /* newest() says that there is none */
    client->rk = rk;
    rd.interceptor_add_on_acknowledgement(rk, "dataflow", on_acknowledgement, client);
    return 0;
}

__attribute__((visibility("default"))) int conf_init(rd_kafka_conf_t *conf, void **opaque,
                                                     char *text, size_t size)
{
    (void)opaque, (void)text, (void)size;
    return rd.conf_interceptor_add_on_new(conf, "dataflow", on_new, NULL);
}

static const char CLIENT[] = "dataflow.kafka.client", QUEUE[] = "dataflow.kafka.queue";

static void free_queue(PyObject *capsule)
{
    rd.queue_destroy(PyCapsule_GetPointer(capsule, QUEUE));
    Py_XDECREF((PyObject *)PyCapsule_GetContext(capsule)); /* its client goes AFTER it */
}

static PyObject *native_newest(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    if (!newest) {
        PyErr_SetString(PyExc_RuntimeError, "this thread has made no client with the plugin");
        return NULL;
    }
    PyObject *capsule = PyCapsule_New(newest, CLIENT, NULL);
    if (capsule)
        newest = NULL;
    return capsule;
}

static PyObject *native_failure(PyObject *self, PyObject *capsule)
{
    (void)self;
    Client *client = PyCapsule_GetPointer(capsule, CLIENT);
    return client ? PyLong_FromLong(atomic_load(&client->failure)) : NULL;
}

/* --- consuming ------------------------------------------------------------------------------- */

static PyObject *native_queue(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *capsule, *owner;
    if (!PyArg_ParseTuple(args, "OO", &capsule, &owner))
        return NULL;
    Client *client = PyCapsule_GetPointer(capsule, CLIENT);
    if (!client)
        return NULL;
    rd_kafka_queue_t *queue = rd.queue_new(client->rk);
    PyObject *made = PyCapsule_New(queue, QUEUE, free_queue);
    if (!made)
        rd.queue_destroy(queue);
    else
        PyCapsule_SetContext(made, Py_NewRef(owner));
    return made;
}

static PyObject *native_forward(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *of, *to;
    const char *topic;
    int partition;
    if (!PyArg_ParseTuple(args, "OOsi", &of, &to, &topic, &partition))
        return NULL;
    Client *client = PyCapsule_GetPointer(of, CLIENT);
    rd_kafka_queue_t *queue = client ? PyCapsule_GetPointer(to, QUEUE) : NULL;
    if (!queue)
        return NULL;
    rd_kafka_queue_t *from = rd.queue_get_partition(client->rk, topic, partition);
    if (!from) {
        PyErr_Format(PyExc_RuntimeError, "%s/%d has no queue", topic, partition);
        return NULL;
    }
    rd.queue_forward(from, queue);
    rd.queue_destroy(from);
    Py_RETURN_NONE;
}

enum { KEYS = 1, TIMES = 2, HEADERS = 4, LINES = 8 }; /* what is wanted beside the values */

typedef struct {
    size_t bytes, nulls;
    PyObject *bits_, *ends_, *data_;
    uint8_t *bits;
    int64_t *ends;
    char *data;
} Column;

typedef struct {
    rd_kafka_topic_t *rkt;
    int32_t partition;
    size_t records, filled;
    Column values, keys;
    PyObject *offsets_, *times_, *headers;
    int64_t *offsets, *times;
} Group; /* the records of one partition */

typedef struct {
    rd_kafka_message_t **messages;
    uint32_t *group_of;
    size_t count, groups;
    Group *group;
    int wanted;
} Taken;

static void measure(Column *column, const void *bytes, size_t len, size_t gap)
{
    if (bytes)
        column->bytes += len + gap;
    else
        column->nulls += 1;
}

/* Tell which records are of which partition, and how large columns become; 0 without memory. */
static int sort_out(Taken *taken)
{
    size_t room = 0, last = 0, gap = taken->wanted & LINES ? 1 : 0;
    for (size_t i = 0; i < taken->count; i++) {
        rd_kafka_message_t *m = taken->messages[i];
        if (m->err)
            continue;
        size_t g = last;
        Group *group = taken->group;
        if (g >= taken->groups || group[g].rkt != m->rkt || group[g].partition != m->partition)
            for (g = 0; g < taken->groups; g++)
                if (group[g].rkt == m->rkt && group[g].partition == m->partition)
                    break;
        if (g == taken->groups) {
            if (g == room) {
                room = room ? 2 * room : 16;
                if (!(group = realloc(taken->group, room * sizeof *group)))
                    return 0;
                taken->group = group;
            }
            memset(&group[g], 0, sizeof *group);
            group[g].rkt = m->rkt;
            group[g].partition = m->partition;
            taken->groups++;
        }
        taken->group_of[i] = last = g;
        group[g].records++;
        measure(&group[g].values, m->payload, m->len, gap);
        measure(&group[g].keys, m->key, m->key_len, 0);
    }
    return 1;
}

static void *blank(PyObject **of, size_t bytes)
{
    *of = PyBytes_FromStringAndSize(NULL, bytes);
    return *of ? PyBytes_AS_STRING(*of) : NULL;
}

static int make_column(Column *column, size_t records)
{
    column->ends = blank(&column->ends_, (records + 1) * sizeof(int64_t));
    column->data = column->ends ? blank(&column->data_, column->bytes) : NULL;
    if (!column->data)
        return 0;
    column->ends[0] = 0;
    if (!column->nulls) {
        column->bits_ = Py_NewRef(Py_None);
        return 1;
    }
    if (!(column->bits = blank(&column->bits_, (records + 7) / 8)))
        return 0;
    memset(column->bits, 0, (records + 7) / 8);
    return 1;
}

static int make_columns(Taken *taken)
{
    for (size_t g = 0; g < taken->groups; g++) {
        Group *group = &taken->group[g];
        size_t bytes = group->records * sizeof(int64_t);
        if (!make_column(&group->values, group->records))
            return 0;
        if (!(group->offsets = blank(&group->offsets_, bytes)))
            return 0;
        if (taken->wanted & KEYS && !make_column(&group->keys, group->records))
            return 0;
        if (taken->wanted & TIMES && !(group->times = blank(&group->times_, bytes)))
            return 0;
    }
    return 1;
}

static void put(Column *column, size_t at, const void *bytes, size_t len, int gap)
{
    int64_t end = column->ends[at];
    if (bytes) {
        memcpy(column->data + end, bytes, len);
        end += len;
        if (gap)
            column->data[end++] = '\n';
        if (column->bits)
            column->bits[at / 8] |= 1 << at % 8;
    }
    column->ends[at + 1] = end;
}

static void fill(Taken *taken)
{
    for (size_t i = 0; i < taken->count; i++) {
        rd_kafka_message_t *m = taken->messages[i];
        if (m->err)
            continue;
        Group *group = &taken->group[taken->group_of[i]];
        size_t at = group->filled++;
        group->offsets[at] = m->offset;
        put(&group->values, at, m->payload, m->len, taken->wanted & LINES);
        if (taken->wanted & KEYS)
            put(&group->keys, at, m->key, m->key_len, 0);
        if (taken->wanted & TIMES) {
            int kind;
            group->times[at] = rd.message_timestamp(m, &kind);
        }
    }
}

/* Return the headers of a record as a list of pairs; None if it has none, False if they have a name
 * that is no UTF-8. */
static PyObject *headers_of(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t size;
    if (rd.message_headers(message, &headers))
        Py_RETURN_NONE;
    PyObject *found = PyList_New(0);
    for (size_t i = 0; found && !rd.header_get_all(headers, i, &name, &value, &size); i++) {
        PyObject *pair = Py_BuildValue("sy#", name, value, (Py_ssize_t)size);
        if (!pair || PyList_Append(found, pair))
            Py_CLEAR(found);
        Py_XDECREF(pair);
    }
    if (!found && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        Py_RETURN_FALSE;
    }
    return found;
}

static int gather_headers(Taken *taken)
{
    for (size_t g = 0; g < taken->groups; g++)
        if (!(taken->group[g].headers = PyList_New(0)))
            return 0;
    for (size_t i = 0; i < taken->count; i++) {
        if (taken->messages[i]->err)
            continue;
        PyObject *headers = headers_of(taken->messages[i]);
        int failed = !headers || PyList_Append(taken->group[taken->group_of[i]].headers, headers);
        Py_XDECREF(headers);
        if (failed)
            return 0;
    }
    return 1;
}

static PyObject *told(Column *column)
{
    if (!column->data_)
        Py_RETURN_NONE;
    return Py_BuildValue("OOO", column->bits_, column->ends_, column->data_);
}

static int append(PyObject *to, PyObject *one)
{
    int failed = !one || PyList_Append(to, one);
    Py_XDECREF(one);
    return !failed;
}

static PyObject *tell(Taken *taken)
{
    PyObject *groups = PyList_New(0), *errors = PyList_New(0);
    int going = groups && errors;
    for (size_t g = 0; going && g < taken->groups; g++) {
        Group *one = &taken->group[g];
        PyObject *times = one->times_ ? one->times_ : Py_None;
        PyObject *headers = one->headers ? one->headers : Py_None;
        going = append(groups, Py_BuildValue("siOO&O&OO", rd.topic_name(one->rkt), one->partition,
                                             one->offsets_, told, &one->values, told, &one->keys,
                                             times, headers));
    }
    for (size_t i = 0; going && i < taken->count; i++) {
        rd_kafka_message_t *m = taken->messages[i];
        if (m->err)
            going = append(errors, Py_BuildValue("ziLis", m->rkt ? rd.topic_name(m->rkt) : NULL,
                                                 m->partition, (long long)m->offset, m->err,
                                                 rd.message_errstr(m)));
    }
    PyObject *both = going ? PyTuple_Pack(2, groups, errors) : NULL;
    Py_XDECREF(groups);
    Py_XDECREF(errors);
    return both;
}

static void forget(Column *column)
{
    Py_XDECREF(column->bits_);
    Py_XDECREF(column->ends_);
    Py_XDECREF(column->data_);
}

static void destroy(Taken *taken)
{
    for (size_t g = 0; g < taken->groups; g++) {
        forget(&taken->group[g].values);
        forget(&taken->group[g].keys);
        Py_XDECREF(taken->group[g].offsets_);
        Py_XDECREF(taken->group[g].times_);
        Py_XDECREF(taken->group[g].headers);
    }
    Py_BEGIN_ALLOW_THREADS
    for (size_t i = 0; i < taken->count; i++)
        rd.message_destroy(taken->messages[i]);
    free(taken->messages);
    free(taken->group_of);
    free(taken->group);
    Py_END_ALLOW_THREADS
}

static PyObject *native_drain(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *capsule, *found = NULL;
    Py_ssize_t most;
    int wait_ms, sorted = 0;
    Taken taken = {0};
    if (!PyArg_ParseTuple(args, "Onii", &capsule, &most, &wait_ms, &taken.wanted))
        return NULL;
    rd_kafka_queue_t *queue = PyCapsule_GetPointer(capsule, QUEUE);
    if (!queue)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    taken.messages = malloc(most * sizeof *taken.messages);
    taken.group_of = malloc(most * sizeof *taken.group_of);
    if (taken.messages && taken.group_of) {
        ssize_t count = rd.consume_batch_queue(queue, wait_ms, taken.messages, most);
        taken.count = count > 0 ? count : 0;
        sorted = sort_out(&taken);
    }
    Py_END_ALLOW_THREADS
    if (!sorted)
        PyErr_NoMemory();
    else if (make_columns(&taken)) {
        Py_BEGIN_ALLOW_THREADS
        fill(&taken);
        Py_END_ALLOW_THREADS
        if (!(taken.wanted & HEADERS) || gather_headers(&taken))
            found = tell(&taken);
    }
    destroy(&taken);
    return found;
}

/* --- producing ------------------------------------------------------------------------------- */

enum { AT_ONCE = 4096 };

typedef struct {
    Py_buffer bits, ends, data;
    int gap;
} Given;

static int take(Given *given, PyObject *column)
{
    if (column == Py_None)
        return 1;
    return PyArg_ParseTuple(column, "z*y*y*", &given->bits, &given->ends, &given->data);
}

static void give_back(Given *given)
{
    PyBuffer_Release(&given->bits);
    PyBuffer_Release(&given->ends);
    PyBuffer_Release(&given->data);
}

/* Return where a record's bytes are; NULL for null. */
static void *bytes_of(const Given *given, Py_ssize_t at, size_t *len)
{
    const int64_t *ends = given->ends.buf;
    const uint8_t *bits = given->bits.buf;
    if (!ends || (bits && !(bits[at / 8] >> at % 8 & 1)))
        return *len = 0, NULL;
    *len = ends[at + 1] - ends[at] - given->gap;
    return given->data.buf ? (char *)given->data.buf + ends[at] : ""; /* empty is not null */
}

static int send_many(rd_kafka_topic_t *topic, Given *values, Given *keys, Py_ssize_t rows)
{
    rd_kafka_message_t *some = calloc(AT_ONCE, sizeof *some);
    int failure = some ? 0 : NO_MEMORY;
    for (Py_ssize_t first = 0; first < rows && !failure; first += AT_ONCE) {
        int count = rows - first < AT_ONCE ? rows - first : AT_ONCE;
        for (int i = 0; i < count; i++) {
            some[i].err = 0;
            some[i].payload = bytes_of(values, first + i, &some[i].len);
            some[i].key = bytes_of(keys, first + i, &some[i].key_len);
        }
        rd.produce_batch(topic, PARTITION_ANY, MSG_F_COPY, some, count);
        for (int i = 0; i < count && !failure; i++)
            failure = some[i].err;
    }
    free(some);
    return failure;
}

static int send_each(rd_kafka_t *rk, rd_kafka_topic_t *topic, Given *values, Given *keys,
                     const int64_t *times, Py_ssize_t rows)
{
    rd_kafka_vu_t with[5] = {{VTYPE_RKT, {.rkt = topic}},
                             {VTYPE_MSGFLAGS, {.i = MSG_F_COPY}},
                             {.vtype = VTYPE_VALUE},
                             {.vtype = VTYPE_KEY},
                             {.vtype = VTYPE_TIMESTAMP}};
    for (Py_ssize_t at = 0; at < rows; at++) {
        with[2].u.mem.ptr = bytes_of(values, at, &with[2].u.mem.size);
        with[3].u.mem.ptr = bytes_of(keys, at, &with[3].u.mem.size);
        with[4].u.i64 = times[at];
        void *error = rd.produceva(rk, with, 5);
        if (error) {
            int failure = rd.error_code(error);
            rd.error_destroy(error);
            return failure;
        }
    }
    return 0;
}

static PyObject *native_produce(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *capsule, *values_, *keys_, *found = NULL;
    const char *name;
    Given values = {0}, keys = {0};
    Py_buffer times = {0};
    int failure = 0;
    if (!PyArg_ParseTuple(args, "OsOiOz*", &capsule, &name, &values_, &values.gap, &keys_, &times))
        return NULL;
    Client *client = PyCapsule_GetPointer(capsule, CLIENT);
    if (client && take(&values, values_) && take(&keys, keys_)) {
        Py_ssize_t rows = values.ends.len / (Py_ssize_t)sizeof(int64_t) - 1;
        Py_BEGIN_ALLOW_THREADS
        rd_kafka_topic_t *topic = rd.topic_new(client->rk, name, NULL);
        if (!topic)
            failure = rd.last_error();
        else if (times.buf)
            failure = send_each(client->rk, topic, &values, &keys, times.buf, rows);
        else
            failure = send_many(topic, &values, &keys, rows);
        if (topic)
            rd.topic_destroy(topic);
        Py_END_ALLOW_THREADS
        found = PyLong_FromLong(failure);
    }
    give_back(&values);
    give_back(&keys);
    PyBuffer_Release(&times);
    return found;
}

static PyMethodDef METHODS[] = {
    {"newest", native_newest, METH_NOARGS, NULL},
    {"failure", native_failure, METH_O, NULL},
    {"queue", native_queue, METH_VARARGS, NULL},
    {"forward", native_forward, METH_VARARGS, NULL},
    {"drain", native_drain, METH_VARARGS, NULL},
    {"produce", native_produce, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, .m_name = "native", .m_size = -1,
                             .m_methods = METHODS};

PyMODINIT_FUNC PyInit_native(void)
{
    if (load())
        return NULL;
    return PyModule_Create(&MODULE);
}
