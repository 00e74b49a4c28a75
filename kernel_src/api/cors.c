/* cors.c: tangled from nbs/api/33_page.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/33_page.ipynb § Pages from elsewhere ---- */

/* cors.c: which other pages may read answers. The router asks before it names the
 * Origin that asked. */
#include "api/api.h"
#include "base/config.h"
#include "base/string.h"

CONFIG_KEY(cors_origins, "origins that may read answers: a,b or localhost (default *)");

/* http://localhost, with any scheme and port? */
static bool origin_is_local(const char *origin)
{
    static const char *const names[] = { "localhost", "127.0.0.1", "[::1]" };
    const char *host = strstr(origin, "://");
    for (size_t i = 0; host && i < sizeof names / sizeof names[0]; i++) {
        size_t n = strlen(names[i]);
        char end = strncmp(host + 3, names[i], n) == 0 ? host[3 + n] : 'x';
        if (!end || end == ':')
            return true;
    }
    return false;
}

bool api_cors_allows(const char *origin);

bool api_cors_allows(const char *origin)
{
    const char *list = config_get("cors_origins"), *p = list;
    for (size_t n; p && *p; p += n + (p[n] == ',')) {
        for (n = 0; p[n] && p[n] != ','; n++)
            ;
        if ((n == 1 && *p == '*') || (n == strlen(origin) && memcmp(p, origin, n) == 0) ||
            (n == 9 && memcmp(p, "localhost", 9) == 0 && origin_is_local(origin)))
            return true;
    }
    return !list;
}
