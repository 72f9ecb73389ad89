/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code that is fixed: kernels and programs whose addresses fit into 32 signed bits mostly run at
 * one address only. Their native code is for that one, so that it need not know its page: addresses
 * that count from it are numbers, and c.gpr has the page only where native code is left.
 *
 *   way in         op_native asks for the page; the table of jumps is by address; a pair and a
 *                  joined exit come from code that is for the same page
 *   way out        the page is stored before C may look at it
 *
 * A page that runs at another address, too, loses its native code and gets one for any.
 */
#include "cpu/translate/compile.h"

static bool fits(uint64_t lin)
{
    return (int64_t)lin == (int32_t)lin;
}

/* The page's end is the return address of a call there. */
void fixed_take(struct compile *k, bool moves)
{
    uint64_t page = k->t->c.gpr[GPR_PAGE / 8];

    k->page = !moves && k->word == 8 && fits(page) && fits(page + PAGE_SIZE) ? page : ANY_PAGE;
}

static void put_number(struct compile *k, unsigned to, uint64_t value)
{
    if (value <= UINT32_MAX) {
        emit_imm32(&k->e, to, (uint32_t)value);
        return;
    }
    if (!fits(value)) {
        emit_imm64(&k->e, to, value);
        return;
    }
    emit_form(&k->e,
              &(struct x_form){
                  .op = 0xc7, .w = true, .rm = XRM_REG, .base = (uint8_t)to, .index = X_NONE});
    emit_u32(&k->e, (uint32_t)value);
}

void put_from_page(struct compile *k, unsigned to, int64_t off)
{
    if (is_fixed(k)) {
        put_number(k, to, k->page + (uint64_t)off);
        return;
    }
    emit_load(&k->e, to, ABS(k->t->c.gpr[GPR_PAGE / 8]));
    if (off)
        put_word_lea(k, to, to, (int32_t)off);
}

void put_page_out(struct compile *k)
{
    if (!is_fixed(k))
        return;
    emit_on(&k->e, 0xc7, 0, ABS(k->t->c.gpr[GPR_PAGE / 8])); /* mov qword, sign-extended */
    emit_u32(&k->e, (uint32_t)k->page);
}

/* A far entry is as long as a jump, with bytes of its own. */
void put_page_in(struct compile *k, unsigned off)
{
    static const uint8_t nop[FAR_ENTRY_BYTES] = {0x0f, 0x1f, 0x44, 0, 0};

    if (is_fixed(k)) {
        emit_bytes(&k->e, nop, sizeof nop);
        return;
    }
    emit_lea(&k->e, HOST_T0, HOST_T0, -(int32_t)off);
    emit_store(&k->e, HOST_T0, ABS(k->t->c.gpr[GPR_PAGE / 8]));
}
