/* SPDX-License-Identifier: Apache-2.0 */
/* Files that cannot be booted: each gives one line that says what to do, and none does harm. */
#include "boot_images.h"

#include <sys/stat.h>

static int setup(void **state)
{
    return fixture_setup(state, 8 * MIB);
}

static int setup_tiny(void **state)
{
    return fixture_setup(state, MIB);
}

static enum err try_load(struct fixture *f, const char *initrd, const char *append)
{
    struct boot_config config = {
        .mem = f->mem, .kernel = f->kernel, .initrd = initrd, .append = append};

    return boot_load(&config, &f->state, &f->info);
}

/* Refused with one line that has `text` in it. */
static void assert_refused(struct fixture *f, const char *initrd, const char *append,
                           const char *text)
{
    assert_int_equal(ERR_INVAL, try_load(f, initrd, append));
    if (!strstr(err_text(), text))
        fail_msg("'%s' is not in '%s'", text, err_text());
    assert_null(strchr(err_text(), '\n'));
}

static void refuse_bytes(struct fixture *f, const void *bytes, size_t count, const char *text)
{
    img_save(f->kernel, bytes, count);
    assert_refused(f, NULL, "", text);
}

static void refuse_image(struct fixture *f, const struct img *img, const char *text)
{
    refuse_bytes(f, img->data, img->size, text);
}

static void test_files(void **state)
{
    struct fixture *f = *state;
    struct img img = img_elf64(8);

    assert_refused(f, NULL, "", "does not exist");
    refuse_bytes(f, "", 0, "empty");
    unlink(f->kernel);
    assert_int_equal(0, mkdir(f->kernel, 0700));
    assert_refused(f, NULL, "", "directory");
    rmdir(f->kernel);
    assert_int_equal(0, mkfifo(f->kernel, 0600));
    assert_refused(f, NULL, "", "regular file");
    unlink(f->kernel);

    img_save(f->kernel, img.data, img.size);
    assert_refused(f, f->initrd, "", "does not exist");
    img_save(f->initrd, "", 0);
    assert_refused(f, f->initrd, "", "empty");
    assert_refused(f, f->folder, "", "directory");
    if (getuid() != 0) {
        chmod(f->kernel, 0);
        assert_refused(f, NULL, "", "permissions");
    }
}

static void test_other_things(void **state)
{
    struct fixture *f = *state;
    uint8_t page[4096] = {0};

    refuse_bytes(f, "x", 1, "give a Linux bzImage");
    refuse_bytes(f, page, sizeof(page), "give a Linux bzImage");
    refuse_bytes(f, "#!/bin/sh\n", 10, "give a Linux bzImage");
    refuse_bytes(f, "070701 and so on", 16, "--initrd");
    refuse_bytes(f, "\x1f\x8b\x08\0\0\0\0\0", 8, "gzip");
    memcpy(page + 0x1fe, "\x55\xaa", 2);
    refuse_bytes(f, page, sizeof(page), "disk image");
    memcpy(page, "MZ", 2);
    refuse_bytes(f, page, sizeof(page), "EFI");
    memcpy(page + 0x38, "ARM\x64", 4);
    refuse_bytes(f, page, sizeof(page), "arm64");
}

static void test_bad_elf(void **state)
{
    struct fixture *f = *state;
    struct img good = img_elf64(8), img;

    img = img_elf64(0);
    refuse_image(f, &img, "PVH note");
    img = good;
    img.data[18] = EM_AARCH64;
    refuse_image(f, &img, "arm64");
    img = good;
    img.data[16] = ET_REL;
    refuse_image(f, &img, "link it");
    img = good;
    img.size = 40;
    refuse_image(f, &img, "truncated");
    img.size = 100;
    refuse_image(f, &img, "truncated");
    img.size = 0x2000;
    refuse_image(f, &img, "truncated");
    img = good;
    img_put32(&img, 0x200 + 10 * 4, 0x10);
    refuse_image(f, &img, "entry point");
    img = good;
    img_put32(&img, 64 + 40, 0x900000); /* p_memsz */
    refuse_image(f, &img, "--memory 11M");
    img = good;
    img_put32(&img, 64 + 24, 0xe0000); /* p_paddr: over the ACPI tables */
    refuse_image(f, &img, "no free RAM");
    img = good;
    memcpy(img.data + 64 + 56, img.data + 64, 56); /* the same segment twice */
    refuse_image(f, &img, "PVH note");
}

static void test_bad_bzimage(void **state)
{
    struct fixture *f = *state;
    struct img elf = img_elf64(8), payload = img_pack(&elf, IMG_LZ4), good = img_bzimage(&payload);
    struct img img = good;

    img.size = 0x220;
    refuse_image(f, &img, "truncated");
    img.size = good.size - 600;
    refuse_image(f, &img, "truncated");
    img = good;
    img.data[0x206] = 3;
    refuse_image(f, &img, "too old");
    img = good;
    img_put32(&img, 0x214, 0); /* code32_start: the setup code would put it there, if it ran */
    img.data[0x234] = 0;
    refuse_image(f, &img, "needs a BIOS");
    img = good;
    img_put32(&img, 0x24c, 0x100000); /* payload length */
    refuse_image(f, &img, "truncated");
    img = good;
    img_put32(&img, 0x260, 0x4000000); /* init_size */
    refuse_image(f, &img, "--memory 66M");
    img = good;
    img_put32(&img, 5 * 512 + 0x400 + 4, 0xffffffff); /* size of the first block */
    refuse_image(f, &img, "damaged");
    /* what it says to unpack to is larger than the guest */
    img_put32(&payload, payload.size - 4, 0x7fffffff);
    img = img_bzimage(&payload);
    refuse_image(f, &img, "more than the guest");
    /* says more than there is, and less than there is */
    img_put32(&payload, payload.size - 4, (uint32_t)elf.size + 1);
    img = img_bzimage(&payload);
    refuse_image(f, &img, "damaged");
    img_put32(&payload, payload.size - 4, (uint32_t)elf.size - 1);
    img = img_bzimage(&payload);
    refuse_image(f, &img, "damaged");
}

static void test_bad_multiboot(void **state)
{
    struct fixture *f = *state;
    struct img img = img_multiboot_raw(0, 0);

    img.size = 0x30;
    refuse_image(f, &img, "truncated");
    img = img_multiboot_raw(IMG_ADDR - 1, 0);
    refuse_image(f, &img, "wrong order");
    img = img_multiboot_raw(IMG_ADDR + IMG_CODE_BYTES + 1, 0);
    refuse_image(f, &img, "truncated");
    img = img_multiboot_raw(0, IMG_ADDR + 0x700000);
    refuse_image(f, &img, "--memory 9M");
    img = img_multiboot_raw(0, 0);
    img_put32(&img, 0x20 + 28, 0x100); /* entry */
    refuse_image(f, &img, "entry point");
    img = img_multiboot_raw(0, 0);
    img_put32(&img, 0x20 + 16, IMG_ADDR + 0x30); /* load address above the header's */
    refuse_image(f, &img, "damaged");
    img = img_elf32(0);
    img_add_multiboot(&img, 8);
    refuse_image(f, &img, "features");
    memset(img.data, 0, 0x100);
    img_add_multiboot(&img, 3);
    refuse_image(f, &img, "flag 16");
}

static void test_cmdline_too_long(void **state)
{
    struct fixture *f = *state;
    struct img elf = img_elf64(8), payload = img_pack(&elf, IMG_ZSTD), img = img_bzimage(&payload);
    char append[5000];

    memset(append, 'a', sizeof(append));
    append[2047] = '\0';
    img_save(f->kernel, img.data, img.size);
    assert_int_equal(ERR_OK, try_load(f, NULL, append));
    append[2047] = 'a';
    append[2048] = '\0';
    assert_refused(f, NULL, append, "at most 2047");
    append[2048] = 'a';
    append[4999] = '\0';
    img_save(f->kernel, elf.data, elf.size);
    assert_refused(f, NULL, append, "at most 4095");
    img = img_multiboot_raw(0, 0);
    img_save(f->kernel, img.data, img.size);
    assert_refused(f, NULL, append, "at most 4095");
}

static void test_initrd_too_large(void **state)
{
    struct fixture *f = *state;
    struct img img = img_elf64(8);

    img_save(f->kernel, img.data, img.size);
    img_save(f->initrd, "x", 1);
    assert_int_equal(0, truncate(f->initrd, 6 * MIB));
    assert_refused(f, f->initrd, "", "--memory 9M");
    assert_int_equal(0, truncate(f->initrd, 5 * MIB));
    assert_int_equal(ERR_OK, try_load(f, f->initrd, ""));
    assert_int_equal(0, truncate(f->initrd, 5000 * (off_t)MIB));
    assert_refused(f, f->initrd, "", "use a smaller one");
}

static void test_tiny_guest(void **state)
{
    struct fixture *f = *state;
    struct img elf = img_elf64(8), payload = img_pack(&elf, IMG_LZ4), img = img_bzimage(&payload);

    refuse_image(f, &elf, "--memory 3M");
    refuse_image(f, &img, "--memory 3M");
    img = img_multiboot_raw(0, 0);
    refuse_image(f, &img, "--memory 3M");
}

/*
 * Whatever the bytes: an answer, no harm. The images are changed in up to 8 places, more often in
 * their headers, and cut off in one of four cases.
 */
static void test_mutations(void **state)
{
    struct fixture *f = *state;
    struct img elf64 = img_elf64(8), elf32 = img_elf32(4), packed, good[IMG_PACKINGS + 4];
    unsigned n = 0, loaded = 0;
    uint64_t seed = 88172645463325252u;

    for (unsigned p = 0; p < IMG_PACKINGS; p++) {
        packed = img_pack(&elf64, p);
        good[n++] = img_bzimage(&packed);
    }
    good[n++] = elf64;
    good[n++] = elf32;
    good[n++] = img_multiboot_raw(0, 0);
    img_add_multiboot(&elf32, 3);
    good[n++] = elf32;
    img_save(f->initrd, "initrd", 6);

    for (unsigned round = 0; round < 4000; round++) {
        struct img img = good[round % n];
#define RANDOM() (seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17)
        for (unsigned changes = 1 + RANDOM() % 8; changes > 0; changes--) {
            size_t range = RANDOM() % 2 ? img.size : RANDOM() % 2 ? 0x280 : 0x80;
            size_t at = RANDOM() % range;
            static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff};
            img.data[at] = (uint8_t)(RANDOM() % 3 ? edges[RANDOM() % 5] : RANDOM());
        }
        if (RANDOM() % 4 == 0)
            img.size = RANDOM() % img.size;
        img_save(f->kernel, img.data, img.size);
        enum err err = try_load(f, f->initrd, "console=ttyS0");
        assert_true(err == ERR_OK || err == ERR_INVAL);
        loaded += err == ERR_OK;
    }
    /* the mutations must reach beyond the first check */
    assert_in_range(loaded, 400, 3600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_other_things, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_bad_elf, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_bad_bzimage, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_bad_multiboot, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_cmdline_too_long, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_initrd_too_large, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_tiny_guest, setup_tiny, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_mutations, setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
