/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest finds when a kernel was loaded: its bytes, the boot data and the CPU, by each
 * protocol.
 */
#include "boot_images.h"

static int setup(void **state)
{
    return fixture_setup(state, 64 * MIB);
}

static int setup_large(void **state)
{
    return fixture_setup(state, 5 * 1024 * MIB);
}

static void load(struct fixture *f, const struct img *img, const char *append, size_t initrd_bytes)
{
    struct boot_config config = {
        .mem = f->mem, .kernel = f->kernel, .append = append, .rsdp = gpa_make(BOOT_ACPI_BASE)};

    img_save(f->kernel, img->data, img->size);
    if (initrd_bytes) {
        uint8_t *data = malloc(initrd_bytes);
        assert_non_null(data);
        for (size_t i = 0; i < initrd_bytes; i++)
            data[i] = (uint8_t)(i % 251);
        img_save(f->initrd, data, initrd_bytes);
        free(data);
        config.initrd = f->initrd;
    }
    if (boot_load(&config, &f->state, &f->info) != ERR_OK)
        fail_msg("%s", err_text());
}

static uint64_t peek(struct fixture *f, uint64_t gpa, size_t bytes)
{
    uint64_t v = 0;

    assert_true(mem_read(f->mem, gpa_make(gpa), &v, bytes));
    return v;
}

static void assert_text(struct fixture *f, uint64_t gpa, const char *text)
{
    char buf[256];

    assert_true(mem_read(f->mem, gpa_make(gpa), buf, strlen(text) + 1));
    assert_string_equal(text, buf);
}

static void assert_loaded(struct fixture *f, size_t bytes)
{
    uint8_t code[IMG_CODE_BYTES];

    assert_true(mem_read(f->mem, gpa_make(IMG_ADDR), code, bytes));
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(img_code_byte(i), code[i]);
}

static void assert_initrd(struct fixture *f, uint64_t at, size_t bytes)
{
    assert_int_equal(0, at % PAGE_SIZE);
    for (size_t i = 0; i < bytes; i += 97)
        assert_int_equal(i % 251, peek(f, at + i, 1));
}

/* A segment register and the descriptor its selector names say the same. */
static void assert_descriptor(struct fixture *f, const struct x86_segment *s)
{
    assert_true(s->selector + 7u <= f->state.gdtr.limit);
    uint64_t d = peek(f, f->state.gdtr.base + s->selector, 8);
    uint64_t limit = (d & 0xffff) | (d >> 32 & 0xf0000);

    assert_int_equal(s->attr, d >> 40 & 0xf0ff);
    assert_int_equal(s->limit, s->attr & SEG_ATTR_G ? limit << 12 | 0xfff : limit);
    assert_int_equal(0, s->base);
}

static void assert_bios_data(struct fixture *f)
{
    assert_int_equal(0x3f8, peek(f, 0x400, 2));
    assert_int_equal(BOOT_EBDA_START >> 4, peek(f, 0x40e, 2));
    assert_int_equal(BOOT_EBDA_START >> 10, peek(f, 0x413, 2));
    assert_int_equal(1, peek(f, BOOT_EBDA_START, 1));
}

static void assert_flat32(struct fixture *f)
{
    const struct x86_state *s = &f->state;

    assert_int_equal(CR0_PE, s->cr0 & (CR0_PE | CR0_PG));
    assert_int_equal(0, s->cr4);
    assert_int_equal(0, s->efer);
    assert_int_equal(RFLAGS_ONE, s->rflags);
    assert_int_equal(0xffffffff, s->seg[SEG_CS].limit);
    assert_true(s->seg[SEG_CS].attr & SEG_ATTR_DB);
    assert_false(s->seg[SEG_CS].attr & SEG_ATTR_L);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        assert_descriptor(f, &s->seg[i]);
    assert_descriptor(f, &s->tr);
}

static void assert_pvh(struct fixture *f, const char *cmdline, size_t initrd_bytes)
{
    uint64_t si = f->state.gpr[RBX];

    assert_string_equal("pvh", f->info.protocol);
    assert_int_equal(IMG_ENTRY, f->state.rip);
    assert_flat32(f);
    assert_bios_data(f);
    assert_loaded(f, IMG_CODE_BYTES);
    assert_int_equal(0, peek(f, IMG_ADDR + IMG_CODE_BYTES, 8));
    assert_int_equal(0x336ec578, peek(f, si, 4));
    assert_int_equal(1, peek(f, si + 4, 4));
    assert_int_equal(BOOT_ACPI_BASE, peek(f, si + 32, 8));
    assert_text(f, peek(f, si + 24, 8), cmdline);
    assert_int_equal(initrd_bytes ? 1 : 0, peek(f, si + 12, 4));
    if (initrd_bytes) {
        uint64_t module = peek(f, si + 16, 8);
        assert_int_equal(initrd_bytes, peek(f, module + 8, 8));
        assert_int_equal(f->info.initrd_start, peek(f, module, 8));
        assert_initrd(f, peek(f, module, 8), initrd_bytes);
    }
}

static void test_pvh_elf64(void **state)
{
    struct img img = img_elf64(8);

    load(*state, &img, "console=ttyS0", 100000);
    assert_pvh(*state, "console=ttyS0", 100000);
}

static void test_pvh_elf64_short_note(void **state)
{
    struct img img = img_elf64(4);

    load(*state, &img, "", 0);
    assert_pvh(*state, "", 0);
}

static void test_pvh_elf32(void **state)
{
    struct img img = img_elf32(4);

    load(*state, &img, "a b", 5);
    assert_pvh(*state, "a b", 5);
}

/*
 * Dirty memory, as after a warm restart without a reset of memory: what must be zero becomes zero.
 */
static void test_bss_is_cleared(void **state)
{
    struct fixture *f = *state;
    struct img img = img_elf64(8);
    uint8_t dirt[IMG_BSS_BYTES + 1];

    memset(dirt, 0xa5, sizeof(dirt));
    assert_true(mem_write(f->mem, gpa_make(IMG_ADDR + IMG_CODE_BYTES), dirt, sizeof(dirt)));
    load(f, &img, "", 0);
    for (size_t i = 0; i < IMG_BSS_BYTES; i++)
        assert_int_equal(0, peek(f, IMG_ADDR + IMG_CODE_BYTES + i, 1));
    assert_int_equal(0xa5, peek(f, IMG_ADDR + IMG_CODE_BYTES + IMG_BSS_BYTES, 1));
}

static void test_bzimage_every_packing(void **state)
{
    struct fixture *f = *state;
    struct img elf = img_elf64(8);

    for (enum img_packing p = IMG_LZ4; p <= IMG_LZMA; p++) {
        struct img payload = img_pack(&elf, p), img = img_bzimage(&payload);
        mem_reset(f->mem);
        load(f, &img, "quiet", 4097);
        assert_pvh(f, "quiet", 4097);
    }
}

static void assert_zero_page(struct fixture *f, uint64_t zp, const char *cmdline, size_t initrd)
{
    assert_int_equal(0, zp % PAGE_SIZE);
    assert_int_equal(0x53726448, peek(f, zp + 0x202, 4));
    assert_int_equal(0xff, peek(f, zp + 0x210, 1));
    assert_int_equal(BOOT_ACPI_BASE, peek(f, zp + 0x70, 8));
    assert_text(f, peek(f, zp + 0x228, 4), cmdline);
    assert_int_equal(initrd, peek(f, zp + 0x21c, 4));
    assert_initrd(f, peek(f, zp + 0x218, 4), initrd);
    assert_int_equal(3, peek(f, zp + 0x1e8, 1));
    assert_int_equal(0, peek(f, zp + 0x2d0, 8));
    assert_int_equal(BOOT_EBDA_START, peek(f, zp + 0x2d8, 8));
    assert_int_equal(1, peek(f, zp + 0x2e0, 4));
    assert_int_equal(2, peek(f, zp + 0x2d0 + 20 + 16, 4));
    assert_int_equal(MIB, peek(f, zp + 0x2d0 + 40, 8));
    assert_int_equal(63 * MIB, peek(f, zp + 0x2d0 + 48, 8));
}

/* Walks the identity map by hand. */
static void assert_identity(struct fixture *f, uint64_t gva)
{
    uint64_t e = peek(f, f->state.cr3 + (gva >> 39 & 511) * 8, 8);

    assert_int_equal(3, e & 0x83);
    e = peek(f, (e & PAGE_MASK) + (gva >> 30 & 511) * 8, 8);
    assert_int_equal(3, e & 0x83);
    e = peek(f, (e & PAGE_MASK) + (gva >> 21 & 511) * 8, 8);
    assert_int_equal(0x83, e & 0x83);
    assert_int_equal(gva & ~UINT64_C(0x1fffff), e & PAGE_MASK);
}

static void test_linux64(void **state)
{
    struct fixture *f = *state;
    struct img elf = img_elf64(8), payload = img_pack(&elf, IMG_BZIP2), img = img_bzimage(&payload);
    const struct x86_state *s = &f->state;

    load(f, &img, "root=/dev/vda", 5000);
    assert_string_equal("linux64", f->info.protocol);
    assert_int_equal(IMG_ADDR + 0x200, s->rip);
    assert_int_equal(CR0_PE | CR0_PG, s->cr0 & (CR0_PE | CR0_PG));
    assert_int_equal(CR4_PAE, s->cr4);
    assert_int_equal(EFER_LME | EFER_LMA, s->efer);
    assert_int_equal(SEG_ATTR_L, s->seg[SEG_CS].attr & (SEG_ATTR_L | SEG_ATTR_DB));
    assert_int_equal(0x10, s->seg[SEG_CS].selector);
    assert_int_equal(0x18, s->seg[SEG_DS].selector);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        assert_descriptor(f, &s->seg[i]);
    assert_identity(f, 0);
    assert_identity(f, IMG_ADDR);
    assert_identity(f, UINT64_C(0xffe00000));
    assert_zero_page(f, s->gpr[RSI], "root=/dev/vda", 5000);
    assert_int_equal(0x90, peek(f, s->rip, 1));
}

static void test_linux32(void **state)
{
    struct fixture *f = *state;
    struct img elf = img_elf32(0), payload = img_pack(&elf, IMG_XZ), img = img_bzimage(&payload);

    img.data[0x236] = 0;
    load(f, &img, "vga=0", 77);
    assert_string_equal("linux32", f->info.protocol);
    assert_int_equal(IMG_ADDR, f->state.rip);
    assert_flat32(f);
    assert_zero_page(f, f->state.gpr[RSI], "vga=0", 77);
}

/* A kernel that cannot be moved goes where it says. */
static void test_linux32_fixed_address(void **state)
{
    struct fixture *f = *state;
    struct img elf = img_elf32(0), payload = img_pack(&elf, IMG_GZIP), img = img_bzimage(&payload);

    img.data[0x234] = 0;
    img.data[0x236] = 0;
    load(f, &img, "", 0);
    assert_int_equal(0x100000, f->state.rip);
}

static void test_initrd_stays_below_its_limit(void **state)
{
    struct fixture *f = *state;
    struct img elf = img_elf64(8), payload = img_pack(&elf, IMG_LZ4), img = img_bzimage(&payload);

    img_put32(&img, 0x22c, 0x1ffffff);
    load(f, &img, "", 10000);
    assert_int_equal(0x2000000 - 3 * PAGE_SIZE, f->info.initrd_start);
}

static void assert_multiboot(struct fixture *f, const char *append, size_t initrd_bytes)
{
    uint64_t mi = f->state.gpr[RBX];
    uint32_t flags = (uint32_t)peek(f, mi, 4);
    char cmdline[256];

    assert_string_equal("multiboot", f->info.protocol);
    assert_int_equal(0x2badb002, f->state.gpr[RAX]);
    assert_int_equal(IMG_ENTRY, f->state.rip);
    assert_flat32(f);
    assert_int_equal(0x24d, flags);
    assert_int_equal(639, peek(f, mi + 4, 4));
    assert_int_equal(63 * 1024, peek(f, mi + 8, 4));
    snprintf(cmdline, sizeof(cmdline), "%s%s%s", f->kernel, *append ? " " : "", append);
    assert_text(f, peek(f, mi + 16, 4), cmdline);
    assert_int_equal(initrd_bytes ? 1 : 0, peek(f, mi + 20, 4));
    if (initrd_bytes) {
        uint64_t module = peek(f, mi + 24, 4), start = peek(f, module, 4);
        assert_int_equal(initrd_bytes, peek(f, module + 4, 4) - start);
        assert_initrd(f, start, initrd_bytes);
        assert_text(f, peek(f, module + 8, 4), f->initrd);
    }
    assert_int_equal(3 * 24, peek(f, mi + 44, 4));
    assert_int_equal(20, peek(f, peek(f, mi + 48, 4), 4));
    assert_int_equal(1, peek(f, peek(f, mi + 48, 4) + 20, 4));
    assert_text(f, peek(f, mi + 64, 4), "umbra");
}

static void test_multiboot_addresses(void **state)
{
    struct img img = img_multiboot_raw(IMG_ADDR + 0x2000, IMG_ADDR + 0x5000);

    load(*state, &img, "one two", 0);
    assert_multiboot(*state, "one two", 0);
    assert_int_equal(IMG_ADDR + 0x5000, ((struct fixture *)*state)->info.kernel_end);
}

static void test_multiboot_addresses_whole_file(void **state)
{
    struct img img = img_multiboot_raw(0, 0);

    load(*state, &img, "", 12345);
    assert_multiboot(*state, "", 12345);
    assert_int_equal(IMG_ADDR + IMG_CODE_BYTES, ((struct fixture *)*state)->info.kernel_end);
}

static void test_multiboot_elf32(void **state)
{
    struct img img = img_elf32(0);

    img_add_multiboot(&img, 3);
    load(*state, &img, "x", 1);
    assert_multiboot(*state, "x", 1);
    assert_loaded(*state, IMG_CODE_BYTES);
}

/* Multiboot goes before PVH, and 64-bit ELF is taken too. */
static void test_multiboot_elf64(void **state)
{
    struct img img = img_elf64(8);

    img_add_multiboot(&img, 0);
    load(*state, &img, "x", 0);
    assert_multiboot(*state, "x", 0);
    assert_loaded(*state, IMG_CODE_BYTES);
}

static void test_memory_above_4g_is_told(void **state)
{
    struct fixture *f = *state;
    struct img img = img_elf64(8);

    load(f, &img, "", 1);
    uint64_t si = f->state.gpr[RBX], map = peek(f, si + 40, 8);
    assert_int_equal(4, peek(f, si + 48, 4));
    assert_int_equal(MIB, peek(f, map + 48, 8));
    assert_int_equal(MEM_HOLE_START - MIB, peek(f, map + 56, 8));
    assert_int_equal(MEM_HOLE_END, peek(f, map + 72, 8));
    assert_int_equal(2048 * MIB, peek(f, map + 80, 8));
    assert_int_equal(MEM_HOLE_START - PAGE_SIZE, f->info.initrd_start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pvh_elf64, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_pvh_elf64_short_note, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_pvh_elf32, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_bss_is_cleared, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_bzimage_every_packing, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_linux64, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_linux32, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_linux32_fixed_address, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_initrd_stays_below_its_limit, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_multiboot_addresses, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_multiboot_addresses_whole_file, setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(test_multiboot_elf32, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_multiboot_elf64, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_memory_above_4g_is_told, setup_large,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
