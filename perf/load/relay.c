// The floor: what copying through the kernel and encrypting cost and nothing else.
//
//   relay near PORT TARGET    plain text in, sealed records out
//   relay far PORT TARGET     sealed records in, plain text out
//
// Records of up to 16 KB under AES-128-GCM, the cipher of the compared systems, with a fixed key and a counter: no
// handshake, no certificates, no multiplexing, no flow control but TCP's. Two blocking threads for each connection.
// It protects nothing and is here to be measured only.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECORD = 16384, TAG = 16, HEAD = 4, SEALED = HEAD + RECORD + TAG, RECORDS = 8 };

struct direction {
    int from, to, seals;
    int *users;
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static struct sockaddr_in loopback(const char *port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static int write_all(int fd, const unsigned char *bytes, size_t count) {
    while (count > 0) {
        ssize_t n = send(fd, bytes, count, MSG_NOSIGNAL);
        if (n <= 0) return 0;
        bytes += n;
        count -= (size_t)n;
    }
    return 1;
}

static void next_iv(unsigned char *iv, uint64_t counter) { memcpy(iv + 4, &counter, sizeof counter); }

// Reads plain text, writes records.
static void seal(struct direction *d, EVP_CIPHER_CTX *cipher) {
    unsigned char *plain = malloc(RECORDS * RECORD), *sealed = malloc(RECORDS * SEALED), iv[12] = {0};
    uint64_t counter = 0;
    ssize_t n;
    while ((n = recv(d->from, plain, RECORDS * RECORD, 0)) > 0) {
        size_t out = 0;
        for (ssize_t start = 0; start < n; start += RECORD) {
            int part = n - start < RECORD ? (int)(n - start) : RECORD, length;
            uint32_t head = (uint32_t)part;
            memcpy(sealed + out, &head, HEAD);
            next_iv(iv, counter++);
            EVP_EncryptInit_ex(cipher, NULL, NULL, NULL, iv);
            EVP_EncryptUpdate(cipher, sealed + out + HEAD, &length, plain + start, part);
            EVP_EncryptFinal_ex(cipher, sealed + out + HEAD + part, &length);
            EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, TAG, sealed + out + HEAD + part);
            out += (size_t)(HEAD + part + TAG);
        }
        if (!write_all(d->to, sealed, out)) break;
    }
    free(plain);
    free(sealed);
}

// Reads records, writes plain text.
static void unseal(struct direction *d, EVP_CIPHER_CTX *cipher) {
    unsigned char *sealed = malloc(RECORDS * SEALED), *plain = malloc(RECORDS * RECORD), iv[12] = {0};
    uint64_t counter = 0;
    size_t have = 0;
    ssize_t n;
    while ((n = recv(d->from, sealed + have, RECORDS * SEALED - have, 0)) > 0) {
        have += (size_t)n;
        size_t used = 0, out = 0;
        uint32_t part;
        while (have - used >= HEAD && (memcpy(&part, sealed + used, HEAD), have - used >= HEAD + part + TAG)) {
            int length;
            if (part > RECORD) goto end;
            next_iv(iv, counter++);
            EVP_DecryptInit_ex(cipher, NULL, NULL, NULL, iv);
            EVP_DecryptUpdate(cipher, plain + out, &length, sealed + used + HEAD, (int)part);
            EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, TAG, sealed + used + HEAD + part);
            if (EVP_DecryptFinal_ex(cipher, plain + out + length, &length) != 1) goto end;
            out += part;
            used += HEAD + part + TAG;
        }
        if (out > 0 && !write_all(d->to, plain, out)) break;
        have -= used;
        memmove(sealed, sealed + used, have);
    }
end:
    free(plain);
    free(sealed);
}

static void *run(void *argument) {
    struct direction *d = argument;
    static const unsigned char key[16] = "only a benchmark";
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    if (d->seals) {
        EVP_EncryptInit_ex(cipher, EVP_aes_128_gcm(), NULL, key, NULL);
        seal(d, cipher);
    } else {
        EVP_DecryptInit_ex(cipher, EVP_aes_128_gcm(), NULL, key, NULL);
        unseal(d, cipher);
    }
    EVP_CIPHER_CTX_free(cipher);
    shutdown(d->to, SHUT_WR);
    if (__atomic_sub_fetch(d->users, 1, __ATOMIC_ACQ_REL) == 0) {
        close(d->from);
        close(d->to);
        free(d->users);
    }
    free(d);
    return NULL;
}

static void start(int from, int to, int seals, int *users, pthread_attr_t *attributes) {
    struct direction *d = malloc(sizeof *d);
    pthread_t thread;
    *d = (struct direction){from, to, seals, users};
    if (pthread_create(&thread, attributes, run, d) != 0) fail("pthread_create");
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: relay near|far PORT TARGET\n");
        return 2;
    }
    int is_near = strcmp(argv[1], "near") == 0, one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in here = loopback(argv[2]), there = loopback(argv[3]);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 65536);
    signal(SIGPIPE, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) != 0 || listen(listener, 4096) != 0) fail("listen");
    for (;;) {
        int client = accept(listener, NULL, NULL), server = socket(AF_INET, SOCK_STREAM, 0);
        if (client < 0 || server < 0) fail("accept");
        if (connect(server, (struct sockaddr *)&there, sizeof there) != 0) {
            close(client);
            close(server);
            continue;
        }
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        int *users = malloc(sizeof *users);
        *users = 2;
        start(client, server, is_near, users, &attributes);
        start(server, client, !is_near, users, &attributes);
    }
}
