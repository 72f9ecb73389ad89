/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Trace Event Format, as Chrome's and Perfetto's viewers read it. Times are microseconds with
 * three decimals, so nanoseconds are exact and slices nest exactly.
 */
#include <stdlib.h>
#include <string.h>

#include "control/trace_view.h"

#define US        "%" JSON_INTEGER_FORMAT ".%03" JSON_INTEGER_FORMAT
#define US_OF(ns) (ns) / 1000, (ns) % 1000

enum err trace_chrome_open(struct trace_chrome *chrome, const char *path, const char *vm_name)
{
    chrome->path = path;
    chrome->file = fopen(path, "we");
    if (!chrome->file)
        return err_errno(ERR_INVAL, "--perfetto: cannot write %s", path);
    /* The VM's name holds no character that JSON would have to escape (paths_check_name). */
    fprintf(chrome->file,
            "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"
            "{\"ph\":\"M\",\"pid\":1,\"tid\":0,\"name\":\"process_name\",\"args\":{\"name\":"
            "\"umbra %s\"}},\n"
            "{\"ph\":\"M\",\"pid\":1,\"tid\":0,\"name\":\"thread_name\",\"args\":{\"name\":\"vCPU "
            "0\"}}",
            vm_name);
    return ERR_OK;
}

/* All that the record says but its steps and times, as the slice's arguments. */
static char *arguments_of(const json_t *record)
{
    static const char *const beside[] = {"t_ns", "vcpu", "text", "steps", "ns"};
    json_t *copy = json_copy((json_t *)record);
    char *text;

    for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++)
        json_object_del(copy, beside[i]);
    text = json_dumps(copy, JSON_COMPACT);
    json_decref(copy);
    return text;
}

static void add_steps(struct trace_chrome *chrome, const json_t *record, json_int_t at,
                      json_int_t vcpu)
{
    const char *name;
    json_t *value;

    json_object_foreach(json_object_get(record, "steps"), name, value)
    {
        json_int_t ns = json_integer_value(value);

        if (ns)
            fprintf(chrome->file,
                    ",\n{\"ph\":\"X\",\"pid\":1,\"tid\":%" JSON_INTEGER_FORMAT
                    ",\"cat\":\"step\",\"name\":\"%s\","
                    "\"ts\":" US ",\"dur\":" US "}",
                    vcpu, name, US_OF(at), US_OF(ns));
        at += ns;
    }
}

void trace_chrome_add(struct trace_chrome *chrome, const json_t *record)
{
    json_int_t at = json_integer_value(json_object_get(record, "t_ns"));
    json_int_t ns = json_integer_value(json_object_get(record, "ns"));
    json_int_t vcpu = json_integer_value(json_object_get(record, "vcpu"));
    const char *name = json_string_value(json_object_get(record, "text"));
    char *arguments = arguments_of(record);

    if (!chrome->file || !arguments || !name) {
        free(arguments);
        return;
    }
    fprintf(chrome->file,
            ",\n{\"ph\":\"%s\",\"pid\":1,\"tid\":%" JSON_INTEGER_FORMAT
            ",\"name\":\"%s\",\"ts\":" US,
            json_object_get(record, "steps") ? "X" : "i", vcpu, name, US_OF(at));
    if (json_object_get(record, "steps"))
        fprintf(chrome->file, ",\"cat\":\"access\",\"dur\":" US, US_OF(ns));
    else
        fputs(",\"cat\":\"table\",\"s\":\"t\"", chrome->file);
    fprintf(chrome->file, ",\"args\":%s}", arguments);
    free(arguments);
    add_steps(chrome, record, at, vcpu);
}

enum err trace_chrome_close(struct trace_chrome *chrome)
{
    bool bad;

    if (!chrome->file)
        return ERR_OK;
    fputs("\n]}\n", chrome->file);
    bad = ferror(chrome->file) != 0;
    bad |= fclose(chrome->file) != 0;
    chrome->file = NULL;
    return bad ? err_errno(ERR_IO, "--perfetto: cannot write %s", chrome->path) : ERR_OK;
}
