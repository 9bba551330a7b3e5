// uselocale is the thread's: while some threads are in C.UTF-8 and others in C, character classes,
// multibyte lengths, code set names and number parsing follow each thread's own choice.
#include <ctype.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <wchar.h>
#include <wctype.h>

#include "switching.h"

static locale_t utf8, plain;
static int verified;

static void* body(void* argument) {
    long n = (long)argument;
    CHECK_EQ(uselocale((locale_t)0), LC_GLOBAL_LOCALE);
    for (int i = 0; i < 40; i++) {
        int wide = (n + i / 10) % 2;
        locale_t l = wide ? utf8 : plain;
        uselocale(l);
        move_about(4);
        CHECK_EQ(uselocale((locale_t)0), l);
        CHECK_STR(nl_langinfo(CODESET), wide ? "UTF-8" : "ANSI_X3.4-1968");
        CHECK_EQ(MB_CUR_MAX, wide ? 6 : 1);
        CHECK_EQ(towupper(0xe9), wide ? 0xc9 : 0xe9);
        wchar_t w = 0;
        mbstate_t state;
        memset(&state, 0, sizeof state);
        size_t length = mbrtowc(&w, "\xc3\xa9", 2, &state);
        CHECK_EQ(length, wide ? 2 : (size_t)-1);
        CHECK(isalpha('q') && !isalpha('1') && toupper('q') == 'Q' && isspace('\t'));
        char text[32], *end;
        snprintf(text, sizeof text, "%.3f tail", 1.5 + (double)n);
        CHECK(strtod(text, &end) == 1.5 + (double)n);
        CHECK_STR(end, " tail");
        bump(&verified);
    }
    uselocale(LC_GLOBAL_LOCALE);
    CHECK_EQ(MB_CUR_MAX, 1);
    return NULL;
}

int main(void) {
    utf8 = newlocale(LC_ALL_MASK, "C.UTF-8", (locale_t)0);
    plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (utf8 == (locale_t)0) SKIP("no C.UTF-8 locale");
    pthread_t t[8];
    for (long i = 0; i < 8; i++) t[i] = spawn(body, (void*)i);
    for (int i = 0; i < 8; i++) join(t[i]);
    CHECK_EQ(uselocale((locale_t)0), LC_GLOBAL_LOCALE);
    freelocale(utf8);
    freelocale(plain);
    printf("verified %d\n", verified);
    return 0;
}
