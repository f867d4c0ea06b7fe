/* Preloaded into cron by record_daemon.py: a clock that only sleep() moves, files below a folder of our own, and jobs
   that are written down instead of run. The daemon's own code decides everything else. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REAL(name, result, ...) result (*real)(__VA_ARGS__) = dlsym(RTLD_NEXT, name)

static time_t now;

static time_t setting(const char *name) { return atoll(getenv(name)); }

static const char *moved(const char *path, char *room) {
    if (path[0] != '/' || !strstr(path, "cron")) return path;
    snprintf(room, 512, "%s%s", getenv("CLOCK_ROOT"), path);
    return room;
}

time_t time(time_t *out) {
    if (!now) now = setting("CLOCK_BEGIN");
    if (out) *out = now;
    return now;
}

unsigned sleep(unsigned seconds) {
    while (waitpid(-1, 0, WNOHANG) > 0) {}
    now = time(0) + seconds;
    if (now >= setting("CLOCK_END")) _exit(0);
    return 0;
}

pid_t fork(void) {
    REAL("fork", pid_t, void);
    pid_t child = real();
    if (child > 0) waitpid(child, 0, 0);
    return child;
}

void __syslog_chk(int priority, int flag, const char *format, ...) {
    REAL("open", int, const char *, int, ...);
    char text[2000];
    va_list rest;
    va_start(rest, format);
    vsnprintf(text, sizeof text, format, rest);
    va_end(rest);
    int log = real(getenv("CLOCK_LOG"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dprintf(log, "%lld %s\n", (long long)time(0), text);
    close(log);
}

int execle(const char *path, const char *first, ...) { _exit(0); }
int setuid(uid_t id) { return 0; }
int setgid(gid_t id) { return 0; }
int initgroups(const char *user, gid_t id) { return 0; }
int is_selinux_enabled(void) { return 0; }
int pam_start(const char *service, const char *user, const void *talk, void **out) { return *out = (void *)1, 0; }
int pam_set_item(void *pam, int item, const void *value) { return 0; }
int pam_acct_mgmt(void *pam, int flags) { return 0; }
int pam_open_session(void *pam, int flags) { return 0; }
int pam_close_session(void *pam, int flags) { return 0; }
int pam_setcred(void *pam, int flags) { return 0; }
int pam_end(void *pam, int status) { return 0; }
char **pam_getenvlist(void *pam) { return calloc(1, sizeof(char *)); }

int chdir(const char *path) {
    char room[512];
    REAL("chdir", int, const char *);
    return real(moved(path, room));
}
DIR *opendir(const char *path) {
    char room[512];
    REAL("opendir", DIR *, const char *);
    return real(moved(path, room));
}
int open(const char *path, int flags, ...) {
    char room[512];
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    REAL("open", int, const char *, int, ...);
    return real(moved(path, room), flags, mode);
}
int stat(const char *path, struct stat *out) {
    char room[512];
    REAL("stat", int, const char *, struct stat *);
    return real(moved(path, room), out);
}
int lstat(const char *path, struct stat *out) {
    char room[512];
    REAL("lstat", int, const char *, struct stat *);
    return real(moved(path, room), out);
}
FILE *fopen(const char *path, const char *mode) {
    char room[512];
    REAL("fopen", FILE *, const char *, const char *);
    return real(moved(path, room), mode);
}
