/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key is made here, lives in locked memory that no core dump takes until the cipher has
 * expanded it, and is never told to anybody: when the process is gone, so is what the file holds.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "base/invariant.h"
#include "mem/store/swap_private.h"

#define KEY_BYTES 64 /* two keys of AES-256 */

struct swap_crypt {
    EVP_CIPHER_CTX *encrypt, *decrypt;
};

static bool make_key(uint8_t *key)
{
    size_t have = 0;

    while (have < KEY_BYTES) {
        ssize_t got = getrandom(key + have, KEY_BYTES - have, 0);
        if (got < 0 && errno != EINTR)
            return false;
        have += got > 0 ? (size_t)got : 0;
    }
    return true;
}

static EVP_CIPHER_CTX *make_context(const uint8_t *key, int is_encryption)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    if (ctx && EVP_CipherInit_ex(ctx, EVP_aes_256_xts(), NULL, key, NULL, is_encryption) == 1)
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

enum err swap_crypt_create(struct swap_crypt **out)
{
    struct swap_crypt *crypt = calloc(1, sizeof(*crypt));
    uint8_t *key =
        mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool ok = crypt && key != MAP_FAILED;

    *out = NULL;
    if (ok) {
        /* Both are a help, not a need: the host may allow neither. */
        (void)mlock(key, PAGE_SIZE);
        (void)madvise(key, PAGE_SIZE, MADV_DONTDUMP);
        ok = make_key(key);
        crypt->encrypt = ok ? make_context(key, 1) : NULL;
        crypt->decrypt = ok ? make_context(key, 0) : NULL;
        ok = crypt->encrypt && crypt->decrypt;
        OPENSSL_cleanse(key, PAGE_SIZE);
    }
    if (key != MAP_FAILED)
        munmap(key, PAGE_SIZE);
    if (!ok) {
        swap_crypt_destroy(crypt);
        return err_new(ERR_NOMEM, "no key for the swap file: the host has no memory, no randomness "
                                  "or no AES-256-XTS");
    }
    *out = crypt;
    return ERR_OK;
}

/* libcrypto wipes the expanded keys. */
void swap_crypt_destroy(struct swap_crypt *crypt)
{
    if (!crypt)
        return;
    EVP_CIPHER_CTX_free(crypt->encrypt);
    EVP_CIPHER_CTX_free(crypt->decrypt);
    free(crypt);
}

static void transform(EVP_CIPHER_CTX *ctx, uint32_t slot, const void *in, void *out)
{
    uint8_t tweak[16] = {0};
    int bytes = 0;

    memcpy(tweak, &slot, sizeof(slot));
    /* Neither allocates: with a key and a whole page they cannot fail. */
    invariant(EVP_CipherInit_ex(ctx, NULL, NULL, NULL, tweak, -1) == 1);
    invariant(EVP_CipherUpdate(ctx, out, &bytes, in, (int)PAGE_SIZE) == 1);
    invariant(bytes == (int)PAGE_SIZE);
}

void swap_encrypt(struct swap_crypt *crypt, uint32_t slot, const void *page, void *out)
{
    transform(crypt->encrypt, slot, page, out);
}

void swap_decrypt(struct swap_crypt *crypt, uint32_t slot, const void *in, void *page)
{
    transform(crypt->decrypt, slot, in, page);
}
