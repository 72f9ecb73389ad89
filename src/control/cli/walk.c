/* SPDX-License-Identifier: Apache-2.0 */
/* umbra walk NAME GVA: one address from GVA to HPA, and the shadow beside it. */
#include <stdio.h>
#include <string.h>

#include "control/api/qmp_client.h"
#include "control/cli/command.h"
#include "control/walk.h"

struct walk_words {
    const char *name, *gva, *cr3;
    bool json, roots;
};

static const struct option_spec walk_options[] = {
    {"cr3", "CR3", "walk another address space: the physical address of its top table"},
    {"roots", NULL, "instead of a walk: the address spaces that the shadow MMU knows"},
    {"json", NULL, "print JSON for programs"},
    {NULL, NULL, NULL},
};

static enum err set_option(void *arg, const struct option_spec *spec, const char *value)
{
    struct walk_words *words = arg;

    if (!strcmp(spec->name, "cr3"))
        words->cr3 = value;
    else if (!strcmp(spec->name, "roots"))
        words->roots = true;
    else
        words->json = true;
    return ERR_OK;
}

static enum err take_word(void *arg, const char *word)
{
    struct walk_words *words = arg;

    if (!words->name)
        words->name = word;
    else if (!words->gva)
        words->gva = word;
    else
        return err_new(ERR_INVAL, "one address at a time: '%.40s' is a second one", word);
    return ERR_OK;
}

static void print_help(void)
{
    puts("umbra walk NAME GVA [--cr3 CR3] [--json]\numbra walk NAME --roots [--json]\n\nExamples:\n"
         "  umbra walk web1 0xffffffff81000000   how this guest address is translated, level by "
         "level\n"
         "  umbra walk web1 rip                  the instruction that runs now (also rsp, cr2)\n"
         "  umbra walk web1 --roots              which address spaces there are\n"
         "  umbra walk web1 0x400000 --cr3 0x2a4e000   an address of a user process, by its CR3\n"
         "  umbra walk web1 rip --json           the same for programs\n\n"
         "The guest stands still for the moment of the look, and nothing of it "
         "changes.\n\nOptions:");
    options_print(walk_options, stdout);
}

static enum err check_words(const struct walk_words *words)
{
    if (!words->name)
        return err_new(ERR_INVAL, "name the VM; umbra ps lists those that run");
    if (words->roots && (words->gva || words->cr3))
        return err_new(ERR_INVAL, "--roots lists all address spaces; it goes with no address");
    if (!words->roots && !words->gva)
        return err_new(ERR_INVAL, "which address? e.g. umbra walk %.40s rip", words->name);
    return ERR_OK;
}

static enum err ask(const struct walk_words *words, json_t **result)
{
    json_t *arguments = json_object();
    struct qmp_link link;
    enum err err = qmp_link_open(&link, words->name, QMP_LINK_PATIENT_S);

    if (!err) {
        if (words->gva)
            json_object_set_new(arguments, "gva", json_string(words->gva));
        if (words->cr3)
            json_object_set_new(arguments, "cr3", json_string(words->cr3));
        err = qmp_link_call_with(&link, words->roots ? "x-umbra-roots" : "x-umbra-walk", arguments,
                                 result);
        qmp_link_close(&link);
    }
    json_decref(arguments);
    return err;
}

int command_walk(int count, char *const *words)
{
    struct walk_words given = {0};
    const struct option_sink sink = {.arg = &given, .set = set_option, .positional = take_word};
    json_t *result = NULL;
    bool want_help;
    enum err err = options_parse(walk_options, count, words, &sink, &want_help);

    if (!err && want_help) {
        print_help();
        return STATUS_OK;
    }
    if (!err)
        err = check_words(&given);
    if (!err)
        err = ask(&given, &result);
    if (err)
        return cli_fail(err);
    if (given.json) {
        json_dumpf(result, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (given.roots) {
        walk_roots_print(result, stdout);
    } else {
        walk_print(result, stdout);
    }
    json_decref(result);
    return STATUS_OK;
}
