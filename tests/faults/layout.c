// Preloaded: libc publishes another offset of the thread id than it uses, as an unknown one might.
const unsigned _thread_db_pthread_tid[3] = {32, 1, 8};
