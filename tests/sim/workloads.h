// The simulated programs that workloads.cc lists and other files have; each runs as the main fiber.
#pragma once

namespace pfiber::sim {

void interrupts();
void foreign();
void idle();
void mix();
void mutexes();
void counts();
void conditions();
void convoy();
void pair();
void tight_pair();
void starved_global();
void ready_io();
void crowded_io();
void crowd();
void late_timers();
void timers_beside_calls();
void uncovered_timers();
void attended_pollers();
void quiet_server();
void unfair_mutex();
void long_rest();
void surplus();
void spilled();
void newcomer();
void many_sockets();
void fairness();
void resizing();
void grown();
void returns();
void many_workers();
void predicted();
void rules();

}  // namespace pfiber::sim
