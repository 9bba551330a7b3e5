// flags: -fopenmp
// env: OMP_NUM_THREADS=8 OMP_DYNAMIC=false
// GNU OpenMP: teams, nested teams, tasks, barriers, locks, ordered loops, thread-private data, and
// with OMP_PROC_BIND.
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int own;
#pragma omp threadprivate(own)

static long fibonacci(int n) {
    long a, b;
    if (n < 2) return n;
#pragma omp task shared(a)
    a = fibonacci(n - 1);
#pragma omp task shared(b)
    b = fibonacci(n - 2);
#pragma omp taskwait
    return a + b;
}

static void* own_team(void* sum) {
    long local = 0;
#pragma omp parallel for reduction(+ : local) num_threads(3)
    for (int i = 0; i < 1000; i++) local += i;
    *(long*)sum = local;
    return NULL;
}

int main(int argc, char** argv) {
    (void)argc;
    long sum = 0, crit = 0, atom = 0;
    int threads = 0, singles = 0;
#pragma omp parallel for reduction(+ : sum) schedule(dynamic, 10)
    for (int i = 0; i < 10000; i++) sum += i;
    printf("sum %ld\n", sum);
#pragma omp parallel
    {
#pragma omp single
        threads = omp_get_num_threads();
        own = omp_get_thread_num() + 100;
        for (int i = 0; i < 200; i++) {
#pragma omp critical
            crit++;
#pragma omp atomic
            atom++;
#pragma omp barrier
#pragma omp single
            singles++;
        }
    }
    printf("threads %d critical %ld atomic %ld singles %d\n", threads, crit, atom, singles);
    int kept = 0;
#pragma omp parallel reduction(+ : kept)
    kept += own == omp_get_thread_num() + 100;
    printf("threadprivate %d\n", kept);
    long fib = 0;
#pragma omp parallel
#pragma omp single
    fib = fibonacci(16);
    printf("tasks %ld\n", fib);

    omp_set_max_active_levels(2);
    int nested = 0;
#pragma omp parallel num_threads(4) reduction(+ : nested)
    {
        int inner = 0;
#pragma omp parallel num_threads(3) reduction(+ : inner)
        inner += omp_get_level();
        nested += inner;
    }
    printf("nested %d\n", nested);
    char text[65] = {0};
    int at = 0;
#pragma omp parallel for ordered schedule(static, 1)
    for (int i = 0; i < 64; i++) {
#pragma omp ordered
        text[at++] = (char)('0' + i % 10);
    }
    printf("ordered %s\n", text);
    omp_lock_t lock;
    omp_init_lock(&lock);
    long locked = 0;
#pragma omp parallel for
    for (int i = 0; i < 2000; i++) {
        omp_set_lock(&lock);
        locked++;
        omp_unset_lock(&lock);
    }
    printf("lock %ld\n", locked);
    int depend[3] = {0};
#pragma omp parallel
#pragma omp single
    {
#pragma omp task depend(out : depend[0])
        depend[0] = 1;
#pragma omp task depend(in : depend[0]) depend(out : depend[1])
        depend[1] = depend[0] + 1;
#pragma omp task depend(in : depend[1])
        depend[2] = depend[1] + 1;
    }
    printf("depend %d %d %d\n", depend[0], depend[1], depend[2]);
    pthread_t team[4];
    long sums[4];
    for (int i = 0; i < 4; i++) pthread_create(&team[i], NULL, own_team, &sums[i]);
    for (int i = 0; i < 4; i++) pthread_join(team[i], NULL);
    printf("teams of other threads %ld %ld %ld %ld\n", sums[0], sums[1], sums[2], sums[3]);
    printf("bound %d places %d\n", omp_get_proc_bind() != omp_proc_bind_false,
           omp_get_num_places() > 0);
    if (omp_get_num_places() > 0) {
        int one = 0;
#pragma omp parallel reduction(+ : one) num_threads(2)
        {
            cpu_set_t set;
            one += sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) == 1 &&
                   CPU_ISSET(sched_getcpu(), &set);
        }
        printf("on their places %d\n", one);
        return 0;
    }
    fflush(stdout);
    setenv("OMP_PROC_BIND", "spread", 1);
    setenv("OMP_PLACES", "threads", 1);
    setenv("OMP_NUM_THREADS", "2", 1);
    execv(argv[0], argv);
    return 2;
}
