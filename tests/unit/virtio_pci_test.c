/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI transport (VIRTIO 1.2 4.1). docs/virtio.md names these tests, clause by clause.
 *
 * One file because it follows one chapter of the specification.
 */
#include "virtio_pci_fixture.h"

#define BAR_LOW 0x10
#define COMMAND 0x04
#define STATUS  0x06

static uint32_t find_cap(struct fixture *f, uint8_t type)
{
    uint32_t cap = driver_pci_read(&f->d, 0x34, 1);

    while (cap &&
           (driver_pci_read(&f->d, cap, 1) != 9 || driver_pci_read(&f->d, cap + 3, 1) != type))
        cap = driver_pci_read(&f->d, cap + 1, 1);
    return cap;
}

/* ---- discovery, configuration space ---- */

/* 4.1.2.1 */
static void ids_say_virtio(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    assert_int_equal(driver_pci_read(&f.d, 0, 2), 0x1af4);
    assert_int_equal(driver_pci_read(&f.d, 2, 2), 0x1040 + ECHO_ID);
    assert_true(driver_pci_read(&f.d, 8, 1) >= 1);
    assert_true(driver_pci_read(&f.d, 0x2e, 2) >= 0x40);
    assert_int_equal(driver_pci_read(&f.d, 0x0e, 1), 0);
    assert_int_equal(driver_pci_read(&f.d, 0x3d, 1), 1);
    stop(&f);
}

/* 4.1.1: sizing, moving and switching off the BAR as PCI 3.0 6.2.5.1 says. */
static void bar_can_be_sized_and_moved(void **state)
{
    struct fixture f;
    uint32_t bar;

    (void)state;
    start(&f);
    bar = driver_pci_read(&f.d, BAR_LOW, 4);
    assert_true(bar >= PCI_WINDOW && bar + 0x10000 <= PCI_WINDOW + PCI_WINDOW_BYTES);
    assert_int_equal(bar & 0xf, 0);
    driver_pci_write(&f.d, BAR_LOW, 4, 0xffffffff);
    assert_true(driver_pci_read(&f.d, BAR_LOW, 4) == 0xffff0000);
    driver_pci_write(&f.d, BAR_LOW, 4, 0xd0001234);
    assert_true(driver_pci_read(&f.d, BAR_LOW, 4) == 0xd0000000);
    assert_true(driver_read(&f.d, bar + 0x12, 2) == 0xffff); /* nobody is there any more */
    driver_find(&f.d);
    assert_int_equal(driver_common_read(&f.d, COMMON_NUM_QUEUES, 2), ECHO_QUEUES);
    driver_pci_write(&f.d, COMMAND, 2, 4);
    assert_int_equal(driver_common_read(&f.d, COMMON_NUM_QUEUES, 2), 0xffff);
    driver_pci_write(&f.d, COMMAND, 2, 6);
    /* other BARs do not exist; bytes can be written one by one */
    driver_pci_write(&f.d, 0x14, 4, 0xffffffff);
    assert_int_equal(driver_pci_read(&f.d, 0x14, 4), 0);
    driver_pci_write(&f.d, BAR_LOW + 3, 1, 0xe0);
    assert_true(driver_pci_read(&f.d, BAR_LOW, 4) == 0xe0000000);
    stop(&f);
}

/* An access half outside the BAR, or at an address above the window, belongs to nobody. */
static void accesses_across_the_bar_end_belong_to_nobody(void **state)
{
    struct fixture f;
    uint32_t bar;

    (void)state;
    start(&f);
    bar = driver_pci_read(&f.d, BAR_LOW, 4);
    assert_true(driver_read(&f.d, bar + 0xfffe, 4) == 0xffffffff);
    assert_true(driver_read(&f.d, bar + 0xfffc, 4) == 0);
    driver_pci_write(&f.d, BAR_LOW, 4, 0xfff00000); /* outside: never asked */
    assert_true(driver_read(&f.d, bar, 4) == 0xffffffff);
    stop(&f);
}

/* 4.1.4.2, 4.1.4.3.1, 4.1.4.4.1, 4.1.4.5.1, 4.1.4.6, 4.1.4.9.1: one capability of each kind. */
static void capabilities_name_all_structures(void **state)
{
    static const struct {
        uint8_t type, bytes, align;
        uint32_t least;
    } want[] = {
        {1, 16, 4, 56}, {2, 20, 2, 4 * (ECHO_QUEUES - 1) + 2},
        {3, 16, 1, 1},  {4, 16, 4, ECHO_CONFIG_BYTES},
        {5, 20, 1, 0},
    };
    struct fixture f;

    (void)state;
    start(&f);
    assert_true(driver_pci_read(&f.d, STATUS, 2) & 0x10);
    for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        uint32_t cap = find_cap(&f, want[i].type);

        assert_int_not_equal(cap, 0);
        assert_int_equal(driver_pci_read(&f.d, cap + 2, 1), want[i].bytes);
        assert_int_equal(driver_pci_read(&f.d, cap + 4, 1), 0);
        assert_int_equal(driver_pci_read(&f.d, cap + 8, 4) % want[i].align, 0);
        assert_true(driver_pci_read(&f.d, cap + 12, 4) >= want[i].least);
    }
    assert_int_equal(f.d.notify_multiplier, 4); /* an even power of 2 */
    for (unsigned i = 0; i < ECHO_QUEUES; i++) {
        driver_common_write(&f.d, COMMON_QUEUE_SELECT, 2, i);
        assert_true(driver_pci_read(&f.d, find_cap(&f, 2) + 12, 4) >=
                    driver_common_read(&f.d, COMMON_QUEUE_NOTIFY_OFF, 2) * 4 + 2);
    }
    stop(&f);
}

/* 4.1.4.1 (driver): a capability is read-only. */
static void capabilities_are_read_only(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    for (uint8_t type = 1; type <= 4; type++) {
        uint32_t cap = find_cap(&f, type);

        for (unsigned i = 0; i < 16; i += 4) {
            uint32_t before = driver_pci_read(&f.d, cap + i, 4);

            driver_pci_write(&f.d, cap + i, 4, ~before);
            assert_true(driver_pci_read(&f.d, cap + i, 4) == before);
        }
    }
    stop(&f);
}

/* 4.1.4.9.1: a window into the BAR through configuration space. */
static void pci_cfg_reads_and_writes_the_bar(void **state)
{
    struct fixture f;
    uint32_t cap;

    (void)state;
    start(&f);
    cap = find_cap(&f, 5);
    driver_pci_write(&f.d, cap + 4, 1, 0);
    driver_pci_write(&f.d, cap + 8, 4, COMMON_STATUS);
    driver_pci_write(&f.d, cap + 12, 4, 1);
    driver_pci_write(&f.d, cap + 16, 4, VIRTIO_ACKNOWLEDGE);
    assert_int_equal(driver_status(&f.d), VIRTIO_ACKNOWLEDGE);
    assert_int_equal(driver_pci_read(&f.d, cap + 16, 1), VIRTIO_ACKNOWLEDGE);
    driver_pci_write(&f.d, cap + 8, 4, COMMON_NUM_QUEUES);
    driver_pci_write(&f.d, cap + 12, 4, 2);
    assert_int_equal(driver_pci_read(&f.d, cap + 16, 4) & 0xffff, ECHO_QUEUES);
    driver_pci_write(&f.d, cap + 8, 4, COMMON_DEVICE_FEATURE);
    driver_pci_write(&f.d, cap + 12, 4, 4);
    assert_true(driver_pci_read(&f.d, cap + 16, 4) == (uint32_t)driver_offered(&f.d));
    stop(&f);
}

/* 4.1.4.9.2 (driver): aligned, 1, 2 or 4 bytes, inside the BAR. Anything else does nothing. */
static void pci_cfg_refuses_wild_windows(void **state)
{
    static const struct {
        uint8_t bar;
        uint32_t offset, length;
    } wild[] = {
        {1, COMMON_STATUS, 1}, {6, 0, 4},          {0, COMMON_STATUS, 0}, {0, COMMON_STATUS, 3},
        {0, COMMON_STATUS, 8}, {0, 0x10000, 4},    {0, UINT32_MAX, 1},    {0, 0xffffffff, 4},
        {0, 0x12, 4},          {0, 0xfffffffc, 4}, {0, 0x13, 2},          {0, 0, UINT32_MAX},
    };
    struct fixture f;
    uint32_t cap;

    (void)state;
    start(&f);
    cap = find_cap(&f, 5);
    driver_common_write(&f.d, COMMON_STATUS, 1, VIRTIO_ACKNOWLEDGE);
    for (unsigned i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
        driver_pci_write(&f.d, cap + 4, 1, wild[i].bar);
        driver_pci_write(&f.d, cap + 8, 4, wild[i].offset);
        driver_pci_write(&f.d, cap + 12, 4, wild[i].length);
        driver_pci_write(&f.d, cap + 16, 4, 0);
        driver_pci_read(&f.d, cap + 16, 4);
        assert_int_equal(driver_status(&f.d), VIRTIO_ACKNOWLEDGE);
    }
    /* not aligned, where bytes would be taken */
    driver_pci_write(&f.d, cap + 4, 1, 0);
    driver_pci_write(&f.d, cap + 8, 4, (uint32_t)(f.d.config - f.d.common) + 1);
    driver_pci_write(&f.d, cap + 12, 4, 2);
    driver_pci_write(&f.d, cap + 16, 4, 0xffffffff);
    assert_int_equal(f.echo.config[1], 0);
    stop(&f);
}

/* ---- common configuration ---- */

/* 4.1.4.3.1: a queue that there is not has size 0; nothing can be written to it. */
static void queues_that_are_not_there_have_size_zero(void **state)
{
    struct fixture f;
    static const uint16_t none[] = {ECHO_QUEUES, 7, 8, 0x8000, 0xffff};

    (void)state;
    start(&f);
    for (unsigned i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        driver_common_write(&f.d, COMMON_QUEUE_SELECT, 2, none[i]);
        assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_SELECT, 2), none[i]);
        for (unsigned at = COMMON_QUEUE_SIZE; at < 56; at += 2)
            driver_common_write(&f.d, at, 2, 1);
        for (unsigned at = COMMON_QUEUE_DESC; at < 56; at += 4)
            driver_common_write(&f.d, at, 4, 4096);
        assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_SIZE, 2), 0);
        assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_ENABLE, 2), 0);
        assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_VECTOR, 2), DRIVER_NO_VECTOR);
        assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_DESC, 4), 0);
    }
    stop(&f);
}

/* 4.1.4.3.1, 4.1.4.3.2 (driver): always a power of 2, never more than offered. */
static void queue_size_can_shrink(void **state)
{
    struct fixture f;
    static const uint16_t bad[] = {0, 3, 12, ECHO_QUEUE_SIZE * 2, 0x8000, 0xffff};

    (void)state;
    start(&f);
    driver_common_write(&f.d, COMMON_QUEUE_SELECT, 2, 0);
    assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_SIZE, 2), ECHO_QUEUE_SIZE);
    driver_common_write(&f.d, COMMON_QUEUE_SIZE, 2, 4);
    assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_SIZE, 2), 4);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        driver_common_write(&f.d, COMMON_QUEUE_SIZE, 2, bad[i]);
        assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_SIZE, 2), 4);
    }
    stop(&f);
}

/* 4.1.4.3.2 (driver): fields come before queue_enable, and it is never written 0. */
static void enabled_queue_is_fixed(void **state)
{
    struct fixture f;

    (void)state;
    start_live(&f);
    driver_common_write(&f.d, COMMON_QUEUE_SELECT, 2, 0);
    driver_common_write(&f.d, COMMON_QUEUE_SIZE, 2, 2);
    driver_common_write(&f.d, COMMON_QUEUE_DESC, 4, 0x20000);
    driver_common_write(&f.d, COMMON_QUEUE_ENABLE, 2, 0);
    assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_SIZE, 2), SIZE);
    assert_true(driver_common_read(&f.d, COMMON_QUEUE_DESC, 4) == f.d.queue[0].desc.v);
    assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_ENABLE, 2), 1);
    kick_one(&f, 0);
    assert_int_equal(f.echo.chains, 1);
    stop(&f);
}

/* 4.1.4.3.2 (driver): some fields are read-only. */
static void read_only_fields_stay(void **state)
{
    static const struct {
        enum driver_common at;
        unsigned bytes;
    } fields[] = {{COMMON_DEVICE_FEATURE, 4},
                  {COMMON_NUM_QUEUES, 2},
                  {COMMON_GENERATION, 1},
                  {COMMON_QUEUE_NOTIFY_OFF, 2}};
    struct fixture f;

    (void)state;
    start_live(&f);
    for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        uint64_t before = driver_common_read(&f.d, fields[i].at, fields[i].bytes);

        driver_common_write(&f.d, fields[i].at, fields[i].bytes, ~before);
        assert_true(driver_common_read(&f.d, fields[i].at, fields[i].bytes) == before);
    }
    stop(&f);
}

/* 4.1.3.1 (driver): each field in its own width. Reads of others see the bytes, writes are void. */
static void other_widths_have_no_effect(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    driver_common_write(&f.d, COMMON_STATUS, 4, VIRTIO_ACKNOWLEDGE);
    driver_common_write(&f.d, COMMON_STATUS, 2, VIRTIO_ACKNOWLEDGE);
    assert_int_equal(driver_status(&f.d), 0);
    driver_common_write(&f.d, COMMON_QUEUE_SELECT, 1, 1);
    driver_common_write(&f.d, COMMON_QUEUE_SELECT, 4, 1);
    assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_SELECT, 2), 0);
    driver_common_write(&f.d, COMMON_DRIVER_SELECT, 2, 1);
    driver_common_write(&f.d, COMMON_DRIVER_SELECT + 2, 2, 1);
    assert_int_equal(driver_common_read(&f.d, COMMON_DRIVER_SELECT, 4), 0);
    driver_common_write(&f.d, COMMON_QUEUE_DESC, 2, 0x1000);
    driver_common_write(&f.d, COMMON_QUEUE_DESC + 2, 4, 0x1000);
    assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_DESC, 4), 0);
    assert_int_equal(driver_common_read(&f.d, COMMON_NUM_QUEUES, 4), ECHO_QUEUES);
    assert_int_equal(driver_common_read(&f.d, COMMON_NUM_QUEUES + 1, 1), 0);
    assert_int_equal(driver_common_read(&f.d, 56, 4), 0);
    assert_int_equal(driver_common_read(&f.d, 54, 4), 0);
    stop(&f);
}

/* 4.1.3.2: halves of 64-bit fields on their own; a whole one is two halves. */
static void halves_of_64_bit_fields(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    for (unsigned at = COMMON_QUEUE_DESC; at < 56; at += 8) {
        driver_common_write(&f.d, at + 4, 4, 0x11);
        driver_common_write(&f.d, at, 4, 0x2000);
        assert_true(driver_common_read(&f.d, at, 8) == UINT64_C(0x1100002000));
        driver_common_write(&f.d, at, 4, 0x3000);
        assert_true(driver_common_read(&f.d, at, 8) == UINT64_C(0x1100003000));
        driver_common_write(&f.d, at, 8, UINT64_C(0x2200004000));
        assert_int_equal(driver_common_read(&f.d, at, 4), 0x4000);
        assert_int_equal(driver_common_read(&f.d, at + 4, 4), 0x22);
    }
    stop(&f);
}

/* ---- notifications ---- */

/* A notification does nothing but ask; the queue that it names is served, once. */
static void notification_asks_for_service(void **state)
{
    struct fixture f;

    (void)state;
    start_live(&f);
    add(&f, 1);
    driver_notify(&f.d, 1);
    driver_notify(&f.d, 1);
    assert_int_equal(f.echo.chains, 0);
    assert_int_equal(f.d.wanted, 2);
    driver_serve(&f.d);
    driver_serve(&f.d);
    assert_int_equal(f.echo.chains, 1);
    driver_write(&f.d, f.d.notify + 4 * ECHO_QUEUES, 2, 0); /* no such queue */
    driver_write(&f.d, f.d.notify + 0xffc, 4, 0);
    assert_int_equal(f.d.wanted, 2);
    virtio_ask_service(f.d.dev);
    driver_serve(&f.d);
    assert_int_equal(f.echo.polls, 1);
    stop(&f);
}

/* PCI 3.0 6.2.2: who is no bus master leaves memory alone; what was asked for is done after. */
static void no_bus_master_no_service(void **state)
{
    struct fixture f;

    (void)state;
    start_live(&f);
    driver_pci_write(&f.d, COMMAND, 2, 2);
    kick_one(&f, 0);
    assert_int_equal(f.echo.chains, 0);
    driver_pci_write(&f.d, COMMAND, 2, 6);
    driver_serve(&f.d);
    assert_int_equal(f.echo.chains, 1);
    stop(&f);
}

/* 4.1.4.5.1, 4.1.5.3, 4.1.5.4: INTx, its bits, the status register; a read clears and lowers. */
static void isr_tells_and_clears(void **state)
{
    struct fixture f;

    (void)state;
    start_live(&f);
    kick_one(&f, 0);
    assert_true(f.d.intx);
    assert_true(driver_pci_read(&f.d, STATUS, 2) & 8);
    virtio_config_changed(f.d.dev);
    assert_int_equal(driver_read(&f.d, f.d.isr, 1), 3);
    assert_false(f.d.intx);
    assert_false(driver_pci_read(&f.d, STATUS, 2) & 8);
    assert_int_equal(driver_read(&f.d, f.d.isr, 1), 0);
    virtio_config_changed(f.d.dev);
    assert_int_equal(driver_read(&f.d, f.d.isr, 1), 2);
    stop(&f);
}

/* PCI 3.0 6.2.2: interrupt disable holds the wire, not the status bit. */
static void intx_can_be_switched_off(void **state)
{
    struct fixture f;

    (void)state;
    start_live(&f);
    driver_pci_write(&f.d, COMMAND, 2, 0x406);
    kick_one(&f, 0);
    assert_false(f.d.intx);
    assert_true(driver_pci_read(&f.d, STATUS, 2) & 8);
    driver_pci_write(&f.d, COMMAND, 2, 6);
    assert_true(f.d.intx);
    driver_common_write(&f.d, COMMON_STATUS, 1, 0);
    assert_false(f.d.intx);
    stop(&f);
}

/* ---- MSI-X ---- */

/* 4.1.5.1.2.1: as many vectors as the capability says, any event to any, unmapped, read back. */
static void any_event_maps_to_any_vector(void **state)
{
    struct fixture f;
    unsigned vectors;

    (void)state;
    start_live(&f);
    vectors = (driver_pci_read(&f.d, f.d.msix_cap + 2, 2) & 0x7ff) + 1;
    assert_true(vectors >= 2);
    driver_enable_msix(&f.d, vectors);
    for (uint16_t v = 0; v < vectors; v++) {
        for (unsigned q = 0; q < ECHO_QUEUES; q++) {
            driver_common_write(&f.d, COMMON_QUEUE_SELECT, 2, q);
            driver_common_write(&f.d, COMMON_QUEUE_VECTOR, 2, v);
            assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_VECTOR, 2), v);
            f.d.messages = 0;
            kick_one(&f, q);
            assert_int_equal(f.d.messages, 1);
            assert_int_equal(f.d.last_message.vector, 0x40 + v);
        }
        driver_common_write(&f.d, COMMON_CONFIG_VECTOR, 2, v);
        assert_int_equal(driver_common_read(&f.d, COMMON_CONFIG_VECTOR, 2), v);
        virtio_config_changed(f.d.dev);
        assert_int_equal(f.d.last_message.vector, 0x40 + v);
    }
    assert_false(f.d.intx);
    stop(&f);
}

/* 4.1.5.1.2.1, 4.1.5.1.2.2 (driver): a vector outside the table reads back as NO_VECTOR. */
static void vectors_outside_the_table_fail(void **state)
{
    struct fixture f;
    static const uint16_t bad[] = {ECHO_QUEUES + 1, 0x7ff, 0x8000, 0xfffe, DRIVER_NO_VECTOR};

    (void)state;
    start_live(&f);
    driver_common_write(&f.d, COMMON_QUEUE_SELECT, 2, 0);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        driver_common_write(&f.d, COMMON_QUEUE_VECTOR, 2, 1);
        driver_common_write(&f.d, COMMON_QUEUE_VECTOR, 2, bad[i]);
        assert_int_equal(driver_common_read(&f.d, COMMON_QUEUE_VECTOR, 2), DRIVER_NO_VECTOR);
        driver_common_write(&f.d, COMMON_CONFIG_VECTOR, 2, bad[i]);
        assert_int_equal(driver_common_read(&f.d, COMMON_CONFIG_VECTOR, 2), DRIVER_NO_VECTOR);
    }
    stop(&f);
}

/* 4.1.5.3.1, 4.1.5.4.1: NO_VECTOR and MSI-X on: no interrupt at all, not even INTx. */
static void no_vector_no_interrupt(void **state)
{
    struct fixture f;

    (void)state;
    start_live(&f);
    driver_enable_msix(&f.d, ECHO_QUEUES + 1);
    driver_common_write(&f.d, COMMON_QUEUE_SELECT, 2, 0);
    driver_common_write(&f.d, COMMON_QUEUE_VECTOR, 2, DRIVER_NO_VECTOR);
    driver_common_write(&f.d, COMMON_CONFIG_VECTOR, 2, DRIVER_NO_VECTOR);
    kick_one(&f, 0);
    virtio_config_changed(f.d.dev);
    assert_int_equal(f.d.messages, 0);
    assert_false(f.d.intx);
    /* 4.1.4.5.1: the configuration bit is set also then */
    assert_int_equal(driver_read(&f.d, f.d.isr, 1), 2);
    stop(&f);
}

/* PCI 3.0 6.8.2 in the BAR: masks and pending bits, as the guest sees them. */
static void masked_vectors_wait_in_the_bar(void **state)
{
    struct fixture f;

    (void)state;
    start_live(&f);
    driver_enable_msix(&f.d, ECHO_QUEUES + 1);
    driver_write(&f.d, f.d.table + 16 + 12, 4, 1);
    kick_one(&f, 0);
    assert_int_equal(f.d.messages, 0);
    assert_int_equal(driver_read(&f.d, f.d.pba, 8), 2);
    driver_write(&f.d, f.d.table + 16 + 12, 4, 0);
    assert_int_equal(f.d.messages, 1);
    assert_int_equal(f.d.last_message.vector, 0x41);
    assert_int_equal(driver_read(&f.d, f.d.pba, 8), 0);
    driver_pci_write(&f.d, f.d.msix_cap + 2, 2, 0xc000);
    kick_one(&f, 1);
    assert_int_equal(driver_read(&f.d, f.d.pba, 4), 4);
    driver_pci_write(&f.d, f.d.msix_cap + 2, 2, 0x8000);
    assert_int_equal(f.d.messages, 2);
    assert_int_equal(f.d.last_message.vector, 0x42);
    stop(&f);
}

/* Machine reset: everything is as at power-on. */
static void machine_reset_forgets_everything(void **state)
{
    struct fixture f;
    uint32_t bar;

    (void)state;
    start_live(&f);
    bar = driver_pci_read(&f.d, BAR_LOW, 4);
    driver_enable_msix(&f.d, ECHO_QUEUES + 1);
    driver_pci_write(&f.d, BAR_LOW, 4, 0xd0000000);
    driver_pci_write(&f.d, COMMAND, 2, 0);
    virtio_pci_reset(f.d.vp);
    assert_true(driver_pci_read(&f.d, BAR_LOW, 4) == bar);
    assert_int_equal(driver_pci_read(&f.d, COMMAND, 2), 6);
    assert_int_equal(driver_pci_read(&f.d, f.d.msix_cap + 2, 2), ECHO_QUEUES);
    driver_find(&f.d);
    assert_int_equal(driver_status(&f.d), 0);
    assert_int_equal(driver_read(&f.d, f.d.table + 12, 4), 1);
    assert_true(driver_negotiate(&f.d, BASIC));
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_say_virtio),
        cmocka_unit_test(bar_can_be_sized_and_moved),
        cmocka_unit_test(accesses_across_the_bar_end_belong_to_nobody),
        cmocka_unit_test(capabilities_name_all_structures),
        cmocka_unit_test(capabilities_are_read_only),
        cmocka_unit_test(pci_cfg_reads_and_writes_the_bar),
        cmocka_unit_test(pci_cfg_refuses_wild_windows),
        cmocka_unit_test(queues_that_are_not_there_have_size_zero),
        cmocka_unit_test(queue_size_can_shrink),
        cmocka_unit_test(enabled_queue_is_fixed),
        cmocka_unit_test(read_only_fields_stay),
        cmocka_unit_test(other_widths_have_no_effect),
        cmocka_unit_test(halves_of_64_bit_fields),
        cmocka_unit_test(notification_asks_for_service),
        cmocka_unit_test(no_bus_master_no_service),
        cmocka_unit_test(isr_tells_and_clears),
        cmocka_unit_test(intx_can_be_switched_off),
        cmocka_unit_test(any_event_maps_to_any_vector),
        cmocka_unit_test(vectors_outside_the_table_fail),
        cmocka_unit_test(no_vector_no_interrupt),
        cmocka_unit_test(masked_vectors_wait_in_the_bar),
        cmocka_unit_test(machine_reset_forgets_everything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
