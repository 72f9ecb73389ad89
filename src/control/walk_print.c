/* SPDX-License-Identifier: Apache-2.0 */
/* An explained address in words, from its JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/size.h"
#include "control/walk.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "?";
}

static json_int_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static bool is_set(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static void print_head(const json_t *walk, FILE *out)
{
    const json_t *vcpu = json_object_get(walk, "vcpu");
    const json_t *levels = json_object_get(walk, "levels");
    size_t i;
    json_t *level;

    fprintf(out, "%s", text_of(walk, "gva"));
    if (json_object_get(walk, "name"))
        fprintf(out, " in %s", text_of(walk, "name"));
    if (vcpu)
        fprintf(out, "     (vCPU 0 is at rip %s, CPL %" JSON_INTEGER_FORMAT ")",
                text_of(vcpu, "rip"), number_of(vcpu, "cpl"));
    fprintf(out, "\n\nGVA   %s tables, CR3 %s, PCID %" JSON_INTEGER_FORMAT "%s\n",
            text_of(walk, "format"), text_of(walk, "cr3"), number_of(walk, "pcid"),
            is_set(walk, "current") ? ", the current address space" : ", another address space");
    fputs("     ", out);
    json_array_foreach(levels, i, level)
    {
        const json_t *bits = json_object_get(level, "index_bits");

        fprintf(out,
                " %s %" JSON_INTEGER_FORMAT " (bits %" JSON_INTEGER_FORMAT ":%" JSON_INTEGER_FORMAT
                ") |",
                text_of(level, "table"), number_of(level, "index"),
                json_integer_value(json_array_get(bits, 0)),
                json_integer_value(json_array_get(bits, 1)));
    }
    fprintf(out, " offset %s (bits 11:0)\n", text_of(walk, "offset"));
}

static void print_guest_levels(const json_t *walk, FILE *out)
{
    const json_t *levels = json_object_get(walk, "levels");
    size_t i;
    json_t *level;

    fprintf(out, "\nThe guest's tables:\n  %-5s %-8s %5s  %-14s %-18s %-16s %s\n", "level", "table",
            "index", "entry at", "entry", "leads to", "bits");
    json_array_foreach(levels, i, level)
    {
        bool in_registers = !strcmp(text_of(level, "place"), "registers");
        const char *place = text_of(level, "place");

        if (!is_set(level, "read"))
            continue;
        fprintf(
            out,
            "  %-5" JSON_INTEGER_FORMAT " %-8s %5" JSON_INTEGER_FORMAT "  %-14s %-18s %-16s %s%s",
            number_of(level, "level"), text_of(level, "table"), number_of(level, "index"),
            in_registers ? "in registers" : text_of(level, "entry_gpa"), text_of(level, "entry"),
            strchr(text_of(level, "bits"), 'P') ? text_of(level, "points_to") : "-",
            *text_of(level, "bits") ? text_of(level, "bits") : "not present",
            is_set(level, "leaf") ? "  <- maps the page" : "");
        if (strcmp(text_of(level, "reserved_bits"), "0x0"))
            fprintf(out, "  RESERVED BITS %s", text_of(level, "reserved_bits"));
        if (strcmp(place, "ram") && !in_registers)
            fprintf(out, "  (table %s)", place);
        fputc('\n', out);
    }
    fprintf(out, "  %s\n", text_of(walk, "end_text"));
}

static void print_tracked(const json_t *list, FILE *out)
{
    size_t i;
    json_t *what;

    json_array_foreach(list, i, what) fprintf(
        out, "%s%s", i ? ", " : "; writes to it are heard of: it holds ", json_string_value(what));
}

static void print_host(const json_t *walk, FILE *out)
{
    static const struct {
        const char *name, *text;
    } states[] = {
        {"absent", "absent: never touched, costs nothing"},
        {"zero", "zero: only read so far, read from the shared page of zeros"},
        {"ballooned", "ballooned: in the guest's balloon, reads as zeros"},
        {"shared", "shared: one copy is held for several frames until one is written"},
        {"compressed", "compressed: comes back at its next use"},
        {"swapped", "swapped: in the VM's swap file, comes back at its next use"},
        {"image", "image: dropped, a disk image holds it; comes back at its next use"},
        {"smart", "smart: in the smart-paging file, comes back at its next use"},
        {"resident", "resident: has host memory of its own"},
        {"pinned", "pinned: resident, must stay"},
    };
    const json_t *slot = json_object_get(walk, "slot");
    const json_t *rights = json_object_get(walk, "rights");
    char size[16];

    size_format(size, sizeof(size), (uint64_t)number_of(walk, "page_bytes"));
    fprintf(out, "\nGPA   %s in a page of %s at %s: user mode %s, kernel mode %s\n",
            text_of(walk, "gpa"), size, text_of(walk, "page_gpa"), text_of(rights, "user"),
            text_of(rights, "kernel"));
    fprintf(out, "GFN   %s\n", text_of(walk, "gfn"));
    if (!json_is_object(slot)) {
        fputs("slot  none: this is not RAM, a device answers\n", out);
        return;
    }
    fprintf(out, "slot  base_gfn %s, %" JSON_INTEGER_FORMAT " pages, userspace_addr %s\n",
            text_of(slot, "base_gfn"), number_of(slot, "pages"), text_of(slot, "userspace_addr"));
    fprintf(out, "HVA   %s = %s + ((%s - %s) << 12) + %s\n", text_of(walk, "hva"),
            text_of(slot, "userspace_addr"), text_of(walk, "gfn"), text_of(slot, "base_gfn"),
            text_of(walk, "offset"));
    fputs("state ", out);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (!strcmp(states[i].name, text_of(walk, "state")))
            fputs(states[i].text, out);
    }
    print_tracked(json_object_get(walk, "tracked"), out);
    fprintf(out, "; mapped by %" JSON_INTEGER_FORMAT " small shadow %s\n",
            number_of(walk, "mappings"), number_of(walk, "mappings") == 1 ? "entry" : "entries");
    if (is_set(walk, "reads_zero_page"))
        fprintf(out, "reads %s, in the shared page of zeros\n", text_of(walk, "reads_from"));
    if (is_set(walk, "reads_shared_copy"))
        fprintf(out, "reads %s, in the copy that it shares with others\n",
                text_of(walk, "reads_from"));
    if (json_is_string(json_object_get(walk, "hpa")))
        fprintf(out, "HPA   %s, %s\n", text_of(walk, "hpa"), text_of(walk, "hpa_text"));
    else
        fprintf(out, "HPA   %s\n", text_of(walk, "hpa_text"));
}

static void print_leaf(const json_t *entry, FILE *out)
{
    bool by_gpa = json_object_get(entry, "gpa") != NULL;

    fprintf(out, "%s at %s %s: %s%s%s%s%s%s", text_of(entry, "kind"), by_gpa ? "GPA" : "HVA",
            text_of(entry, by_gpa ? "gpa" : "hva"), is_set(entry, "user") ? "user " : "kernel ",
            is_set(entry, "write") ? "rw" : "r-", is_set(entry, "no_execute") ? "-" : "x",
            is_set(entry, "dirty") ? ", dirty" : ", clean",
            is_set(entry, "global") ? ", global" : "",
            is_set(entry, "fresh") ? "" : ", to be compared at its next use");
}

static void print_shadow_level(const json_t *level, FILE *out)
{
    const json_t *shadow = json_object_get(level, "shadow");
    const json_t *role = json_object_get(shadow, "role");
    const json_t *entry = json_object_get(shadow, "entry");
    const char *kind = text_of(shadow, "kind");
    char place[64], rights[32];

    fprintf(out, "  %-5" JSON_INTEGER_FORMAT " %-8s %5" JSON_INTEGER_FORMAT "  ",
            number_of(level, "level"), text_of(level, "table"), number_of(level, "index"));
    if (!role) {
        fputs("no shadow page: nothing is kept from here on\n", out);
        return;
    }
    snprintf(place, sizeof(place), "#%" JSON_INTEGER_FORMAT " for GFN %s at %s",
             number_of(shadow, "page"), text_of(shadow, "table_gfn"), text_of(shadow, "begins_at"));
    snprintf(rights, sizeof(rights), "%s %s%s%s", text_of(role, "format"),
             is_set(role, "user") ? "u" : "-", is_set(role, "write") ? "w" : "-",
             is_set(role, "no_execute") ? "-" : "x");
    fprintf(out, "%-44s %-12s ", place, rights);
    if (!strcmp(kind, "leaf"))
        print_leaf(entry, out);
    else
        fputs(!strcmp(kind, "link") ? "link" : "empty", out);
    if (!strcmp(text_of(shadow, "compared"), "stale"))
        fprintf(out, "  STALE: made from %s", text_of(entry, "made_from"));
    else if (strcmp(kind, "empty"))
        fputs("  agrees", out);
    fputc('\n', out);
}

/* Below a leaf, or where the shadow has no page, there is nothing more to say. */
static bool ends_here(const json_t *level)
{
    const char *kind = text_of(json_object_get(level, "shadow"), "kind");

    return strcmp(kind, "link") != 0;
}

static void print_shadow(const json_t *walk, FILE *out)
{
    const json_t *levels = json_object_get(walk, "levels");
    const json_t *shadow = json_object_get(walk, "shadow");
    const json_t *withheld = json_object_get(shadow, "write_withheld");
    size_t i;
    json_t *item;

    if (!strcmp(text_of(walk, "end"), "not canonical"))
        return;
    if (is_set(walk, "known")) {
        fprintf(out,
                "\nThe shadow (strategy %s, TLB tag %" JSON_INTEGER_FORMAT
                "):\n  %-5s %-8s %5s  %-44s %-12s %s\n",
                text_of(walk, "strategy"), number_of(walk, "tlb_tag"), "level", "table", "index",
                "shadow page", "role", "entry, compared with the guest's");
        json_array_foreach(levels, i, item)
        {
            print_shadow_level(item, out);
            if (ends_here(item))
                break;
        }
    }
    fprintf(out, "\n=> %s\n", text_of(shadow, "text"));
    json_array_foreach(withheld, i, item)
        fprintf(out, "   write withheld: %s\n", json_string_value(item));
}

void walk_print(const json_t *walk, FILE *out)
{
    print_head(walk, out);
    if (strcmp(text_of(walk, "end"), "not canonical"))
        print_guest_levels(walk, out);
    else
        fprintf(out, "\n%s\n", text_of(walk, "end_text"));
    if (!strcmp(text_of(walk, "end"), "mapped"))
        print_host(walk, out);
    print_shadow(walk, out);
}

void walk_roots_print(const json_t *roots, FILE *out)
{
    size_t i;
    json_t *root;

    fprintf(out, "%-18s %5s  %-8s %7s %8s  %-14s %s\n", "CR3", "PCID", "FORMAT", "TLB TAG",
            "ENTRIES", "VIEW", "LAST USE");
    json_array_foreach(roots, i, root)
    {
        fprintf(out,
                "%-18s %5" JSON_INTEGER_FORMAT "  %-8s %7" JSON_INTEGER_FORMAT
                " %8" JSON_INTEGER_FORMAT "  %s%s%s%s ",
                text_of(root, "cr3"), number_of(root, "pcid"), text_of(root, "format"),
                number_of(root, "tlb_tag"), number_of(root, "top_entries"),
                is_set(root, "wp") ? "WP " : "-- ", is_set(root, "smep") ? "SMEP " : "---- ",
                is_set(root, "smap") ? "SMAP " : "---- ", is_set(root, "keys") ? "PK" : "--");
        if (is_set(root, "current"))
            fputs("now\n", out);
        else
            fprintf(out, "at event %" JSON_INTEGER_FORMAT "\n", number_of(root, "last_use"));
    }
    fputs("\nNewest first; time is counted in flushes and switches. umbra walk NAME GVA --cr3 CR3 "
          "walks another one.\n",
          out);
}
