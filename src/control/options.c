/* SPDX-License-Identifier: Apache-2.0 */
#include "control/options.h"

#include <string.h>

#define WORD_MAX 31

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;

    return m < c ? m : c;
}

unsigned options_distance(const char *a, const char *b)
{
    unsigned d[WORD_MAX + 1][WORD_MAX + 1];
    size_t la = strnlen(a, WORD_MAX);
    size_t lb = strnlen(b, WORD_MAX);

    for (size_t i = 0; i <= la; i++)
        d[i][0] = (unsigned)i;
    for (size_t j = 0; j <= lb; j++)
        d[0][j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        for (size_t j = 1; j <= lb; j++) {
            d[i][j] =
                min3(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < d[i][j])
                d[i][j] = d[i - 2][j - 2] + 1;
        }
    }
    return d[la][lb];
}

bool options_is_typo_of(const char *word, const char *candidate)
{
    size_t length = strlen(candidate);

    if (length > 2 && strlen(word) > 2 && !strncmp(word, candidate, strlen(word)))
        return true;
    return options_distance(word, candidate) <= (length > 4 ? 2u : 1u);
}

static const struct option_spec *find_spec(const struct option_spec *specs, const char *name,
                                           size_t length)
{
    for (; specs->name; specs++) {
        if (strlen(specs->name) == length && !memcmp(specs->name, name, length))
            return specs;
    }
    return NULL;
}

/* An option of one letter has one dash. */
static const char *dashes(const struct option_spec *spec)
{
    return spec->name[1] ? "--" : "-";
}

static enum err unknown_option(const struct option_spec *specs, const char *word, size_t length)
{
    char name[WORD_MAX + 1];
    const struct option_spec *best = NULL;

    snprintf(name, sizeof(name), "%.*s", (int)length, word);
    for (; specs->name; specs++) {
        if (options_is_typo_of(name, specs->name) &&
            (!best || options_distance(name, specs->name) < options_distance(name, best->name)))
            best = specs;
    }
    if (best)
        return err_new(ERR_INVAL, "unknown option '--%s'; did you mean '%s%s'?", name, dashes(best),
                       best->name);
    return err_new(ERR_INVAL, "unknown option '--%s'; --help lists the options", name);
}

/* A word in the place of a value: is it one of the command's own options instead? */
static bool is_option(const struct option_spec *specs, const char *word)
{
    const char *name = word + 2;

    return !strncmp(word, "--", 2) && find_spec(specs, name, strcspn(name, "="));
}

/* --name, --name=value, --name value, -n, -nvalue, -n value */
static enum err parse_option(const struct option_spec *specs, int count, char *const *words,
                             int *at, const struct option_sink *sink)
{
    bool is_long = words[*at][1] == '-';
    const char *name = words[*at] + (is_long ? 2 : 1);
    size_t length = is_long ? strcspn(name, "=") : 1;
    const char *rest = name + length + (is_long && name[length] ? 1 : 0);
    const char *value = name[length] ? rest : NULL;
    const struct option_spec *spec = find_spec(specs, name, length);

    if (!is_long && !spec)
        return err_new(ERR_INVAL, "unknown option '%s'; --help lists the options", words[*at]);
    if (!spec || (is_long && length == 1))
        return unknown_option(specs, name, length);
    if (!spec->value && value)
        return err_new(ERR_INVAL, "%s%s takes no value", dashes(spec), spec->name);
    if (spec->value && !value) {
        if (*at + 1 >= count || is_option(specs, words[*at + 1]))
            return err_new(ERR_INVAL, "%s%s needs a value: %s%s %s", dashes(spec), spec->name,
                           dashes(spec), spec->name, spec->value);
        value = words[++*at];
    }
    return sink->set(sink->arg, spec, value);
}

enum err options_parse(const struct option_spec *specs, int count, char *const *words,
                       const struct option_sink *sink, bool *want_help)
{
    bool only_words = false;

    *want_help = false;
    for (int i = 0; i < count; i++) {
        const char *word = words[i];
        enum err err;

        if (!only_words && !strcmp(word, "--")) {
            only_words = true;
            continue;
        }
        if (!only_words && (!strcmp(word, "--help") || !strcmp(word, "-h"))) {
            *want_help = true;
            return ERR_OK;
        }
        if (!only_words && word[0] == '-' && word[1])
            err = parse_option(specs, count, words, &i, sink);
        else if (sink->positional)
            err = sink->positional(sink->arg, word);
        else
            err = err_new(ERR_INVAL, "unexpected word '%s'; --help shows how to call this", word);
        if (err)
            return err;
    }
    return ERR_OK;
}

void options_print(const struct option_spec *specs, FILE *out)
{
    for (const struct option_spec *s = specs; s->name; s++) {
        char left[48];

        snprintf(left, sizeof(left), "%s%s%s%s", dashes(s), s->name, s->value ? " " : "",
                 s->value ? s->value : "");
        fprintf(out, "  %-26s %s\n", left, s->help);
    }
    fprintf(out, "  %-26s %s\n", "--help", "this text");
}
