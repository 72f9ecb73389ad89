/* SPDX-License-Identifier: Apache-2.0 */
/* What the board has beyond the fixed hardware: the PCI root, COM1, the RTC, and S5. */
DefinitionBlock ("", "DSDT", 2, "UMBRA", "BOARD", 1)
{
    /* SLP_TYP 5 turns the machine off */
    Name (\_S5, Package () { 5, 5, 0, 0 })

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_UID, 0)
            Name (_BBN, 0)
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0, 0, 0, 0, 1)
                IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0x0000, 0x0CF7, 0, 0x0CF8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0x0D00, 0xFFFF, 0, 0xF300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0, 0xC0000000, 0xFEBFFFFF, 0, 0x3EC00000)
            })

            /* INTA..INTD of slot n are IOAPIC pins 16 + (n + pin) % 4, active low, level. */
            Name (_PRT, Package ()
            {
                Package () {0x0001FFFF, 0, 0, 17}, Package () {0x0001FFFF, 1, 0, 18},
                Package () {0x0001FFFF, 2, 0, 19}, Package () {0x0001FFFF, 3, 0, 16},
                Package () {0x0002FFFF, 0, 0, 18}, Package () {0x0002FFFF, 1, 0, 19},
                Package () {0x0002FFFF, 2, 0, 16}, Package () {0x0002FFFF, 3, 0, 17},
                Package () {0x0003FFFF, 0, 0, 19}, Package () {0x0003FFFF, 1, 0, 16},
                Package () {0x0003FFFF, 2, 0, 17}, Package () {0x0003FFFF, 3, 0, 18},
                Package () {0x0004FFFF, 0, 0, 16}, Package () {0x0004FFFF, 1, 0, 17},
                Package () {0x0004FFFF, 2, 0, 18}, Package () {0x0004FFFF, 3, 0, 19},
                Package () {0x0005FFFF, 0, 0, 17}, Package () {0x0005FFFF, 1, 0, 18},
                Package () {0x0005FFFF, 2, 0, 19}, Package () {0x0005FFFF, 3, 0, 16},
                Package () {0x0006FFFF, 0, 0, 18}, Package () {0x0006FFFF, 1, 0, 19},
                Package () {0x0006FFFF, 2, 0, 16}, Package () {0x0006FFFF, 3, 0, 17},
                Package () {0x0007FFFF, 0, 0, 19}, Package () {0x0007FFFF, 1, 0, 16},
                Package () {0x0007FFFF, 2, 0, 17}, Package () {0x0007FFFF, 3, 0, 18},
                Package () {0x0008FFFF, 0, 0, 16}, Package () {0x0008FFFF, 1, 0, 17},
                Package () {0x0008FFFF, 2, 0, 18}, Package () {0x0008FFFF, 3, 0, 19},
                Package () {0x0009FFFF, 0, 0, 17}, Package () {0x0009FFFF, 1, 0, 18},
                Package () {0x0009FFFF, 2, 0, 19}, Package () {0x0009FFFF, 3, 0, 16},
                Package () {0x000AFFFF, 0, 0, 18}, Package () {0x000AFFFF, 1, 0, 19},
                Package () {0x000AFFFF, 2, 0, 16}, Package () {0x000AFFFF, 3, 0, 17},
                Package () {0x000BFFFF, 0, 0, 19}, Package () {0x000BFFFF, 1, 0, 16},
                Package () {0x000BFFFF, 2, 0, 17}, Package () {0x000BFFFF, 3, 0, 18},
                Package () {0x000CFFFF, 0, 0, 16}, Package () {0x000CFFFF, 1, 0, 17},
                Package () {0x000CFFFF, 2, 0, 18}, Package () {0x000CFFFF, 3, 0, 19},
                Package () {0x000DFFFF, 0, 0, 17}, Package () {0x000DFFFF, 1, 0, 18},
                Package () {0x000DFFFF, 2, 0, 19}, Package () {0x000DFFFF, 3, 0, 16},
                Package () {0x000EFFFF, 0, 0, 18}, Package () {0x000EFFFF, 1, 0, 19},
                Package () {0x000EFFFF, 2, 0, 16}, Package () {0x000EFFFF, 3, 0, 17},
                Package () {0x000FFFFF, 0, 0, 19}, Package () {0x000FFFFF, 1, 0, 16},
                Package () {0x000FFFFF, 2, 0, 17}, Package () {0x000FFFFF, 3, 0, 18},
                Package () {0x0010FFFF, 0, 0, 16}, Package () {0x0010FFFF, 1, 0, 17},
                Package () {0x0010FFFF, 2, 0, 18}, Package () {0x0010FFFF, 3, 0, 19},
                Package () {0x0011FFFF, 0, 0, 17}, Package () {0x0011FFFF, 1, 0, 18},
                Package () {0x0011FFFF, 2, 0, 19}, Package () {0x0011FFFF, 3, 0, 16},
                Package () {0x0012FFFF, 0, 0, 18}, Package () {0x0012FFFF, 1, 0, 19},
                Package () {0x0012FFFF, 2, 0, 16}, Package () {0x0012FFFF, 3, 0, 17}
            })
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 1, 8)
                IRQNoFlags () { 4 }
            })
        }

        Device (RTC0)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 1, 2)
                IRQNoFlags () { 8 }
            })
        }

        /* Ports that PCI devices must not be given: ELCR, debug exit, PM blocks. */
        Device (MBRD)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x00F4, 0x00F4, 1, 4)
                IO (Decode16, 0x04D0, 0x04D0, 1, 2)
                IO (Decode16, 0x0600, 0x0600, 1, 16)
            })
        }
    }
}
