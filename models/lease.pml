/*
 * A lease, tick by tick: its holder may act until it lays the right down, whoever waits may act when it has taken it,
 * and the two must never overlap (docs/design/safety.md 2, src/evac/core/lease.py, src/evac/engine/election.py).
 *
 * Time. `Tick` moves every clock by one. Within one count the holder's clock may lose DRIFT ticks and the waiter's may
 * gain as many; FREEZE ticks of a count may pass while the holder's whole machine stands still. Whoever runs meets its
 * deadline before the next tick. Two things in the same tick happen in either order: that is why `wait` must exceed
 * the bound, and may not equal it. Messages take any time, and may be lost.
 *
 * Versions. Only whether a version has changed since somebody read it matters, so that is all that is kept. A late
 * renewal is one that its holder no longer waits for; any commit makes all that were sent before it void.
 *
 * Two leases: the leader's (nothing else enforces it; its process is not frozen), and with -DWATCHDOG a primary's: the
 * agent may stand still for ever, and a watchdog armed from the same moment stops the primary.
 *
 * Planted bugs: FROM_REPLY, EQUAL, FROM_ASKING, WRAPS, SLEEPS_ON, AGE_STANDS, with WATCHDOG also NO_WATCHDOG.
 * -DLIVENESS checks that an abandoned lease is taken, instead of the overlap.
 */
#define RENEW  2
#define HOLD   5
#define DEMOTE 1
#define DRIFT  1
#define FREEZE 1

#ifdef WATCHDOG
#define REACH 6 /* the watchdog's own time-out, more than HOLD; A = max(HOLD + DEMOTE, REACH + RESET) */
#define RESET 1
#define A (REACH + RESET)
#else
#define A (HOLD + DEMOTE)
#endif

#ifdef EQUAL
#define WAIT (A + DRIFT + FREEZE + DRIFT)
#else
#define WAIT (A + DRIFT + FREEZE + DRIFT + 1)
#endif

#ifdef WRAPS
#define CHANGED(seen) seen = !seen /* one bit of version: after two renewals it is as before */
#else
#define CHANGED(seen) seen = true
#endif

#define CAP 10 /* a holder's count stops here: all deadlines are below */

mtype:holder = { sleeping, asking, looking, leaving, down };
mtype:holder h = sleeping;
bool sent, replied;          /* the renewal under way: on its way to the store; committed, and its reply on its way */
bool late;                   /* an older renewal may still reach the store */
bool known = true;           /* the version the holder knows is the store's */
byte age, try_age, slept;    /* since the newest successful renewal was sent; since this one was; since going to sleep */
byte limit, limit_age;         /* of the try: the time limit it was given, and the age then (AGE_STANDS) */
byte slow, try_slow, still, try_still; /* drift and freeze used up within `age` and within `try_age` */
byte leave_age;

bool changed = true, awaiting, differs, moved, reading, taking, taken; /* the waiter, see there */
byte w_age, fast;
bool polled, abandoned;
#ifdef FROM_ASKING
bool asked; byte ask_age;                     /* its count begins before the version was read */
#else
#define asked true
#endif

#define OVERLAP (h != down && taken)

/* The store commits a renewal: everybody's knowledge of the version is old. */
inline renewed() { CHANGED(changed); CHANGED(moved); late = false; known = false }

/* Nobody waits for the renewal under way any more; it may still reach the store. */
inline lose() {
	if :: sent && known -> late = true :: else fi;
	sent = false; replied = false
}

inline lay_down() { h = leaving; leave_age = 0; lose() }

inline fall_asleep() { h = sleeping; slept = 0 }

/* `_renew`: the loop's head after a try without success. */
inline go_on() {
	if
	:: age < HOLD -> fall_asleep()
	:: else -> lay_down()
	fi
}

#ifdef SLEEPS_ON
#define AWAKE (slept >= RENEW)
#else
#define AWAKE (slept >= RENEW || age >= HOLD) /* never sleeps past what is left */
#endif
#ifdef AGE_STANDS
#define TIMED_OUT (try_age >= limit)           /* each of the two questions may use what was left before the first */
#else
#define TIMED_OUT (age >= HOLD)
#endif

active proctype Holder() {
	end: do
	:: atomic { h == sleeping && AWAKE ->
		if
		:: age < HOLD -> /* send a renewal; the clock of this count begins before */
			h = asking; sent = true; replied = false;
			try_age = 0; try_slow = 0; try_still = 0; limit = HOLD - age; limit_age = age
		:: else -> lay_down()
		fi }
	:: atomic { h == asking && replied -> /* the reply: the age is counted from the sending */
		replied = false; known = !taken;
#ifdef FROM_REPLY
		age = 0; slow = 0; still = 0;
#else
		age = try_age; slow = try_slow; still = try_still;
#endif
		go_on() }
	:: atomic { h == asking && sent && !known -> /* the store refused it: an earlier one came through, or it is lost */
		sent = false; h = looking
#ifdef AGE_STANDS
		; try_age = 0
#endif
		}
	:: atomic { h == looking && !taken -> /* it reads its own name: the version is known, the age goes on */
		known = true;
#ifdef AGE_STANDS
		age = limit_age; slow = 0; still = 0;
#endif
		go_on() }
	:: atomic { h == looking -> lay_down() } /* another's name, or no answer */
	:: atomic { h == asking || h == looking -> /* no answer in time, or none at all */
		if
		:: h == asking -> lose(); go_on()
		:: else -> lay_down()
		fi }
	:: atomic { h == leaving -> h = down; age = 0; slow = 0; still = 0; slept = 0; try_age = 0; leave_age = 0;
		try_slow = 0; try_still = 0; limit = 0; limit_age = 0 }
#ifdef LIVENESS
	:: atomic { h != down && !abandoned -> abandoned = true; lay_down() } /* its end */
#endif
	:: h == down -> break
	od
}

active proctype Store() {
	end: do
	:: atomic { sent && known && !taken -> sent = false; renewed(); replied = true }
	:: atomic { late && !taken -> renewed() }
	:: taken && h == down -> break
	od
}

/*
 * `_won`. `changed`: the store's version is another than the one waited for. A read returns the version there was;
 * `differs`: that was another than the one waited for, `moved`: the store has gone on since.
 */
active proctype Waiter() {
	end: do
#ifdef FROM_ASKING
	:: atomic { !awaiting && !polled && !asked -> asked = true; ask_age = 0 }
#endif
	:: atomic { !awaiting && !polled && asked -> /* the store answers: here the version is read */
		awaiting = true; polled = true; reading = true; moved = false; differs = changed }
	:: atomic { reading -> reading = false; /* the read returns: a version that is new is counted from here */
		if
		:: differs -> changed = moved;
			w_age = 0; fast = 0; awaiting = false;
#ifdef FROM_ASKING
			w_age = ask_age; asked = false
#endif
		:: !differs && w_age < WAIT -> awaiting = false
		:: else -> taking = true
		fi }
	:: atomic { taking -> taking = false; awaiting = false; /* compare-and-set on the version that was read */
		if
		:: !moved -> taken = true
		:: else
		fi }
	:: taken -> break
	od
}

#ifdef WATCHDOG
#define ALIVE (age < REACH + RESET)           /* the agent may stand still: the watchdog's deadline alone holds */
#else
#define ALIVE (!(h == sleeping && AWAKE) && !((h == asking || h == looking) && TIMED_OUT) && \
	!(h == leaving && leave_age >= DEMOTE))
#endif
#ifdef NO_WATCHDOG
#undef ALIVE
#define ALIVE true
#endif

#define PLUS(count, most) count = (count < most -> count + 1 : count)

active proctype Tick() {
	bool frozen;
	end: do
	:: atomic { (!taken || h != down) && (h == down || ALIVE || still < FREEZE) ->
		if
		:: h == down
		:: h != down ->
			frozen = !(ALIVE);
			if :: frozen -> still++; PLUS(try_still, FREEZE) :: else fi;
			if
			:: PLUS(age, CAP); PLUS(try_age, CAP); PLUS(slept, RENEW); PLUS(leave_age, DEMOTE)
			:: slow < DRIFT -> slow++; PLUS(try_slow, DRIFT) /* the holder's clock loses this tick */
			fi
		fi;
		frozen = false; polled = false;
		PLUS(w_age, WAIT);
#ifdef FROM_ASKING
		PLUS(ask_age, WAIT);
#endif
		if
		:: true
		:: fast < DRIFT -> fast++; PLUS(w_age, WAIT)
		fi }
#ifdef WATCHDOG
#ifndef NO_WATCHDOG
	:: atomic { h != down && age >= REACH -> h = down; lose() }
#endif
#endif
	:: taken && h == down -> break
	od
}

#ifdef LIVENESS
ltl abandoned_is_taken { [] (abandoned -> <> taken) }
#else
active proctype OneWriter() { end: atomic { OVERLAP -> assert(!OVERLAP) } }
#endif
