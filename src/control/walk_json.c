/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An explained address as JSON. Addresses and raw entries are hexadecimal strings: JSON's numbers
 * lose bits.
 */
#include <inttypes.h>
#include <string.h>

#include "control/pagemap.h"
#include "control/walk.h"

static json_t *hex(uint64_t value)
{
    return json_sprintf("0x%" PRIx64, value);
}

/* Takes `value` over. */
static void put(json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, value);
}

const char *walk_table_name(const struct format *format, unsigned level)
{
    static const char *const names[LEVELS_MAX + 1] = {"?", "PT", "PD", "PDPT", "PML4", "PML5"};

    return format->id == FORMAT_OFF ? "identity" : names[level <= LEVELS_MAX ? level : 0];
}

void walk_entry_bits(const struct format *format, unsigned level, bool is_leaf, uint64_t entry,
                     char *buf, size_t buf_bytes)
{
    static const struct {
        uint64_t bit;
        const char *name;
        bool rights, leaf; /* not in PAE's PDPTEs; only in leaves */
    } bits[] = {
        {PTE_P, "P", false, false},   {PTE_W, "W", true, false},    {PTE_U, "U", true, false},
        {0x008, "PWT", false, false}, {0x010, "PCD", false, false}, {PTE_A, "A", true, false},
        {PTE_D, "D", true, true},     {PTE_G, "G", true, true},
    };
    const struct format_level *l = &format->level[level];
    size_t used = 0;

    buf[0] = '\0';
    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        if (!(entry & bits[i].bit) || (bits[i].rights && l->no_rights) ||
            (bits[i].leaf && !is_leaf))
            continue;
        used +=
            (size_t)snprintf(buf + used, buf_bytes - used, "%s%s", used ? " " : "", bits[i].name);
    }
    if (is_leaf && level > 1 && (entry & PTE_PS))
        used += (size_t)snprintf(buf + used, buf_bytes - used, " PS");
    if (format->entry_bytes == 8 && (entry & PTE_NX) && !l->no_rights)
        used += (size_t)snprintf(buf + used, buf_bytes - used, " NX");
    if (is_leaf && format->id >= FORMAT_4LEVEL && (entry >> PTE_PKEY_SHIFT & 15))
        snprintf(buf + used, buf_bytes - used, " key=%u", (unsigned)(entry >> PTE_PKEY_SHIFT & 15));
}

static const char *place_text(enum mmu_table_place place)
{
    switch (place) {
    case MMU_TABLE_IN_RAM:
        return "ram";
    case MMU_TABLE_IN_REGISTERS:
        return "registers";
    case MMU_TABLE_ABSENT:
        return "never touched: reads as zeros";
    case MMU_TABLE_NOT_RAM:
        return "not RAM: reads as ones";
    }
    return "?";
}

static json_t *tracked_json(unsigned tracked)
{
    json_t *list = json_array();

    if (tracked & MEM_TRACK_CODE)
        json_array_append_new(list, json_string("code"));
    if (tracked & MEM_TRACK_TABLE)
        json_array_append_new(list, json_string("table"));
    if (tracked & MEM_TRACK_IMAGE)
        json_array_append_new(list, json_string("what a disk image holds"));
    return list;
}

static json_t *rwx_json(bool read, bool write, bool exec)
{
    const char text[4] = {read ? 'r' : '-', write ? 'w' : '-', exec ? 'x' : '-', '\0'};

    return json_string(text);
}

static json_t *role_json(const struct mmu_role *role)
{
    return json_pack("{s:s, s:i, s:b, s:b, s:b, s:b, s:b}", "format",
                     format_get(role->format)->name, "level", (int)role->level, "user", role->user,
                     "write", role->write, "no_execute", role->nx, "nxe", role->nxe, "large_pages",
                     role->large);
}

static json_t *shadow_entry_json(const struct mmu_shadow_entry *e, bool is_leaf)
{
    json_t *object = json_object();

    put(object, "made_from", hex(e->raw));
    if (!is_leaf)
        return object;
    put(object, "kind", json_string(e->device ? "device" : e->large ? "large page" : "4 KiB page"));
    put(object, e->device || e->large ? "gpa" : "hva",
        hex(e->device || e->large ? e->gpa.v : e->hva.v));
    put(object, "host_writable", json_boolean(e->host_writable));
    put(object, "user", json_boolean(e->user));
    put(object, "write", json_boolean(e->write));
    put(object, "no_execute", json_boolean(e->nx));
    put(object, "dirty", json_boolean(e->dirty));
    put(object, "global", json_boolean(e->global));
    put(object, "key", json_integer(e->pkey));
    put(object, "fresh", json_boolean(e->fresh));
    return object;
}

static json_t *level_shadow_json(const struct mmu_explain_level *l)
{
    static const char *const kinds[] = {"none", "empty", "link", "leaf"};
    static const char *const agreements[] = {"missing", "agree", "stale"};
    json_t *object = json_object();

    put(object, "kind", json_string(kinds[l->shadow]));
    put(object, "compared", json_string(agreements[l->agreement]));
    if (l->shadow == MMU_SHADOW_NO_PAGE)
        return object;
    put(object, "page", json_integer(l->page_id));
    put(object, "table_gfn", hex(l->page_table.v));
    put(object, "begins_at", hex(l->page_gva.v));
    put(object, "present", json_integer(l->page_present));
    put(object, "role", role_json(&l->role));
    if (l->shadow != MMU_SHADOW_EMPTY)
        put(object, "entry", shadow_entry_json(&l->spte, l->shadow == MMU_SHADOW_LEAF));
    return object;
}

static json_t *level_json(const struct mmu_explain *w, unsigned level)
{
    const struct mmu_explain_level *l = &w->level[level];
    const struct format_level *f = &w->format->level[level];
    bool is_leaf = l->large || level == 1;
    json_t *object =
        json_pack("{s:i, s:s, s:i, s:[i,i], s:b}", "level", (int)level, "table",
                  walk_table_name(w->format, level), "index", (int)l->index, "index_bits",
                  f->shift + f->bits - 1, (int)f->shift, "read", l->read);
    char bits[80];

    if (l->read) {
        walk_entry_bits(w->format, level, is_leaf, l->entry, bits, sizeof(bits));
        put(object, "place", json_string(place_text(l->place)));
        if (l->place != MMU_TABLE_IN_REGISTERS) {
            put(object, "entry_gpa", hex(l->entry_gpa.v));
            put(object, "table_state", json_string(page_state_name(l->state)));
            put(object, "table_tracked", tracked_json(l->table_tracked));
        }
        put(object, "entry", hex(l->entry));
        put(object, "bits", json_string(bits));
        put(object, "leaf", json_boolean(is_leaf && (l->entry & PTE_P)));
        put(object, "reserved_bits", hex(l->reserved));
        put(object, "points_to",
            is_leaf && w->end == MMU_WALK_MAPPED ? hex(w->page_base.v) : hex(l->entry & PTE_ADDR));
    }
    put(object, "shadow", level_shadow_json(l));
    return object;
}

static json_t *levels_json(const struct mmu_explain *w)
{
    json_t *list = json_array();

    for (unsigned level = w->format->top; level >= 1; level--) {
        if (w->format->level[level].bits)
            json_array_append_new(list, level_json(w, level));
    }
    return list;
}

static const char *end_name(enum mmu_walk_end end)
{
    switch (end) {
    case MMU_WALK_MAPPED:
        return "mapped";
    case MMU_WALK_NOT_CANONICAL:
        return "not canonical";
    case MMU_WALK_NOT_PRESENT:
        return "not present";
    case MMU_WALK_RESERVED:
        return "reserved bit";
    case MMU_WALK_HOST_ERROR:
        return "host error";
    }
    return "?";
}

static json_t *end_text(const struct mmu_explain *w)
{
    const char *table = walk_table_name(w->format, w->last <= LEVELS_MAX ? w->last : 0);
    const struct mmu_explain_level *l = &w->level[w->last <= LEVELS_MAX ? w->last : 0];

    switch (w->end) {
    case MMU_WALK_MAPPED:
        return json_sprintf("the guest maps it by its %s entry", table);
    case MMU_WALK_NOT_CANONICAL:
        if (w->format->id < FORMAT_4LEVEL)
            return json_string(
                "linear addresses have 32 bits in this mode: no access can have this one");
        return json_sprintf(
            "the address is not canonical: bits 63 to %u are not all alike, so the CPU raises #GP "
            "(#SS for the stack) before any table is read",
            w->format->id == FORMAT_5LEVEL ? 56u : 47u);
    case MMU_WALK_NOT_PRESENT:
        return json_sprintf(
            "the walk stops at the %s: entry %u is not present%s; an access is a true fault", table,
            l->index, l->place == MMU_TABLE_ABSENT ? " (the table's frame was never touched)" : "");
    case MMU_WALK_RESERVED:
        return json_sprintf(
            "the walk stops at the %s: entry %u has reserved bits 0x%" PRIx64
            " set%s; an access is a true fault",
            table, l->index, l->reserved,
            l->place == MMU_TABLE_NOT_RAM ? " (the table is not RAM and reads as ones)" : "");
    case MMU_WALK_HOST_ERROR:
        break;
    }
    return json_string("the host failed to read a table");
}

static void put_host(json_t *object, const struct mmu_explain *w)
{
    struct pagemap_page page;
    uint64_t offset = w->gva.v & (PAGE_SIZE - 1);

    put(object, "gpa", hex(w->gpa.v));
    put(object, "gfn", hex(gpa_gfn(w->page_gpa).v));
    put(object, "page_gpa", hex(w->page_base.v));
    put(object, "page_bytes",
        json_integer((json_int_t)(UINT64_C(1) << w->format->level[w->last].shift)));
    put(object, "rights",
        json_pack("{s:o, s:o}", "user",
                  rwx_json(w->as_user.read, w->as_user.write, w->as_user.exec), "kernel",
                  rwx_json(w->as_kernel.read, w->as_kernel.write, w->as_kernel.exec)));
    if (!w->slot) {
        put(object, "slot", json_null());
        return;
    }
    put(object, "slot",
        json_pack("{s:o, s:I, s:o}", "base_gfn", hex(w->slot->base_gfn.v), "pages",
                  (json_int_t)w->slot->pages, "userspace_addr", hex(w->slot->userspace_addr.v)));
    put(object, "hva", hex(w->hva_formula.v + offset));
    put(object, "state", json_string(page_state_name(w->state)));
    put(object, "tracked", tracked_json(w->tracked));
    put(object, "mappings", json_integer((json_int_t)w->mappings));
    put(object, "reads_from", w->has_hva ? hex(w->hva.v + offset) : json_null());
    put(object, "reads_zero_page", json_boolean(w->hva_is_zero_page));
    put(object, "reads_shared_copy", json_boolean(w->hva_is_shared));
    pagemap_look_up(w->has_hva ? hva_make(w->hva.v + offset) : hva_make(w->hva_formula.v + offset),
                    &page);
    put(object, "hpa", page.kind == PAGEMAP_PRESENT ? hex(page.hpa) : json_null());
    put(object, "hpa_text", json_string(page.text));
}

static json_t *withheld_json(const struct mmu_explain *w)
{
    static const struct {
        unsigned bit;
        const char *text;
    } reasons[] = {
        {MMU_WITHHELD_BY_GUEST, "the guest's entries do not allow it"},
        {MMU_WITHHELD_CLEAN, "the guest's dirty bit is clear: the first write must set it"},
        {MMU_WITHHELD_RESIDENCE, "the frame has no host page of its own yet"},
        {MMU_WITHHELD_CODE,
         "decoded instructions of this frame are kept: a write must be heard of"},
        {MMU_WITHHELD_TABLE,
         "the frame holds a guest table that is followed: a write must be heard of"},
        {MMU_WITHHELD_IMAGE,
         "the frame equals a block of a disk image: the first write must be heard of"},
    };
    json_t *list = json_array();

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (w->withheld & reasons[i].bit)
            json_array_append_new(list, json_string(reasons[i].text));
    }
    return list;
}

/* The level at which the shadow first differs from the guest; 0: none. */
static unsigned stale_level(const struct mmu_explain *w)
{
    for (unsigned level = w->format->top; level >= 1; level--) {
        if (w->level[level].shadow >= MMU_SHADOW_LINK && w->level[level].agreement == MMU_STALE)
            return level;
    }
    return 0;
}

static json_t *verdict_text(const struct mmu_explain *w)
{
    unsigned stale = stale_level(w);

    if (!w->root_known)
        return json_string("the shadow MMU does not know this address space: its tables were read "
                           "from memory only");
    if (stale)
        return json_sprintf(
            "stale at the %s: the guest has changed the entry from 0x%" PRIx64 " to 0x%" PRIx64
            " since; allowed until the guest flushes, and compared before the first use after "
            "that",
            walk_table_name(w->format, stale), w->level[stale].spte.raw, w->level[stale].entry);
    if (w->agreement == MMU_AGREE)
        return json_string(w->withheld ? "guest and shadow agree; writes are withheld"
                                       : "guest and shadow agree");
    if (w->end != MMU_WALK_MAPPED)
        return json_string("the guest maps nothing here, and the shadow holds nothing");
    return json_string(
        "missing: the shadow holds no entry, so the next access is a hidden fault (steps 1 to 7)");
}

json_t *walk_json(const struct mmu_explain *w)
{
    static const char *const verdicts[] = {"missing", "agree", "stale"};
    const char *verdict = verdicts[w->agreement];
    json_t *object = json_object();

    if (!w->root_known)
        verdict = "not known";
    else if (w->agreement == MMU_MISSING && w->end != MMU_WALK_MAPPED)
        verdict = "nothing";
    put(object, "gva", hex(w->gva.v));
    put(object, "format", json_string(w->format->name));
    put(object, "strategy", json_string(w->sync));
    put(object, "cr3", hex(w->cr3));
    put(object, "pcid", json_integer(w->pcid));
    put(object, "current", json_boolean(w->is_current));
    put(object, "known", json_boolean(w->root_known));
    put(object, "tlb_tag", json_integer(w->asid));
    put(object, "offset", hex(w->gva.v & (PAGE_SIZE - 1)));
    put(object, "levels", levels_json(w));
    put(object, "end", json_string(end_name(w->end)));
    put(object, "end_text", end_text(w));
    if (w->end == MMU_WALK_MAPPED)
        put_host(object, w);
    put(object, "shadow",
        json_pack("{s:s, s:o, s:o}", "verdict", verdict, "text", verdict_text(w), "write_withheld",
                  withheld_json(w)));
    return object;
}

json_t *walk_roots_json(const struct mmu *mmu)
{
    struct mmu_root_info roots[MMU_ROOTS_MAX];
    size_t count = mmu_roots(mmu, roots, MMU_ROOTS_MAX);
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        const struct mmu_root_info *r = &roots[i];
        json_t *object =
            json_pack("{s:o, s:i, s:s, s:b, s:i, s:i, s:b, s:b, s:b, s:b}", "cr3", hex(r->cr3),
                      "pcid", (int)r->pcid, "format", format_get(r->role.format)->name, "current",
                      r->is_current, "tlb_tag", (int)r->asid, "top_entries", (int)r->present, "wp",
                      r->wp, "smep", r->smep, "smap", r->smap, "keys", r->pke);

        put(object, "last_use", json_integer((json_int_t)r->used));
        put(object, "role", role_json(&r->role));
        json_array_append_new(list, object);
    }
    return list;
}
