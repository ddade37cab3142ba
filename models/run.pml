/*
 * A run: terms, journal, orders, fence and promotion, with two controllers that both may think that they lead
 * (src/evac/engine/journal.py, executor.py, orders.py, src/evac/core/fence.py, effects.py).
 *
 * Three members, 0 is the primary at first. Two runs at most, one after the other: fence the primary (stop it, or let
 * its standbys refuse it), promote, turn the others to the new primary; or turn back before the promotion. Either
 * controller may be frozen and thawed at any point, and take a run over. Any order may reach its member late, after its
 * agent gave up or died, or never; one late order is under way at a time.
 *
 * The store. Every commit of a controller compares versions which every other controller's commit changes. So all that
 * matters of a controller is whether its copy of the journal is the newest (`fresh`); what it could write with an old
 * one is refused whole. In the same way `stands` says whether an order is still the one that its agent took.
 *
 * A member checks a term and acts on it in one batch, so both are one step here (TORN: they are two).
 *
 * ACKS: 1 is `ANY 1` of the two others, 0 asynchronous; see CAN_ACKNOWLEDGE.
 *
 * Planted bugs: NO_FENCING, MINORITY, DOUBLED, UNPROVEN, TORN, LOOK_PROVES.
 */
#ifndef ACKS
#define ACKS 1
#endif
#ifndef TERMS
#define TERMS 4
#endif
#define NOBODY 3

#ifdef MINORITY
#define REFUSALS (2 - ACKS)     /* a refusal too few */
#else
#define REFUSALS (2 - ACKS + 1) /* n - k + 1; with ACKS 0 more than there are */
#endif

/* Verbs. The last two say whom to follow: FOLLOW + member. REFOLLOW and RELEASE undo. */
#define NONE 0
#define STOP 1
#define RELEASE 2
#define REFUSE 3
#define PROMOTE 4
#define FOLLOW 5
#define REFOLLOW 8
#define IS_FOLLOW(v) (v >= FOLLOW && v < REFOLLOW)

mtype:role = { primary, standby, stopped };
mtype:phase = { no_run, forward, back, stuck };
mtype:answer = { none, done, not_done, unknown };

/* The members. */
mtype:role role[3];
byte up[3];               /* whom a standby follows */
byte stored[3];           /* the term it keeps */
byte began[3];            /* the term it was promoted at */
byte late_to = NOBODY, late_verb, late_term; /* an order that nobody waits for any more, still under way */
#ifdef TORN
bool passed;              /* its term was checked; the effect comes later */
#endif

/* The store. */
byte term = 1;
mtype:phase phase = no_run;
bool fresh[2];            /* controllers whose copy of the journal is the newest */
bool begun;               /* the run has another entry than its first */
byte runs, placed, target;
bool starve, turned;      /* the plan's fence; whether it goes back */
bool tried[3], fenced[3], promoted, followed[3]; /* started, and the receipts in the journal */
bool lost;                /* a try of the promotion ended without a certain answer */
byte order[3], order_term[3], obeyed[3];
bool stands[3], again[3]; /* the order is still as it was taken; an agent has had it in hand before */
mtype:answer answer[3];

/* The agents. */
byte hand[3], hand_term[3];

/* What only the properties read. */
byte seen[3], newest = 1, promotions;

#define OTHERS_FOLLOW(m) ((m != 0 && role[0] == standby && up[0] == m) || \
	(m != 1 && role[1] == standby && up[1] == m) || (m != 2 && role[2] == standby && up[2] == m))
#define CAN_ACKNOWLEDGE(m) (role[m] == primary && (ACKS == 0 || OTHERS_FOLLOW(m)))
#define THIRD (3 - placed - target)
#define REFUSED (fenced[target] + fenced[THIRD])
#define FENCED ((!starve && fenced[placed]) || (starve && REFUSED >= REFUSALS))

/* S1: from a promotion on, nobody of an earlier term can acknowledge a write, and never two at once. */
inline check() {
	assert(CAN_ACKNOWLEDGE(0) + CAN_ACKNOWLEDGE(1) + CAN_ACKNOWLEDGE(2) <= 1);
	assert(!CAN_ACKNOWLEDGE(0) || began[0] == newest);
	assert(!CAN_ACKNOWLEDGE(1) || began[1] == newest);
	assert(!CAN_ACKNOWLEDGE(2) || began[2] == newest)
}

/* The effect of an order that passed the guard, and its reply. */
inline act(m, v, t) {
	reply = true;
	if
	:: v == STOP && role[m] != stopped -> role[m] = stopped; up[m] = NOBODY
	:: v == RELEASE && role[m] == stopped -> role[m] = primary
	:: v == REFUSE && role[m] == standby -> up[m] = NOBODY
	:: v == PROMOTE && role[m] != stopped ->
		if
#ifdef DOUBLED
		:: role[m] == primary -> promotions++ /* neither looked for, nor done only once */
#else
		:: role[m] == primary
#endif
		:: role[m] == standby ->
			assert(m == target && phase != no_run && FENCED); /* S3: the journal has the proof */
			role[m] = primary; up[m] = NOBODY; promotions++
		fi;
		assert(promotions <= 1); /* S7 */
		began[m] = t; newest = (t > newest -> t : newest)
	:: IS_FOLLOW(v) && v != FOLLOW + m -> role[m] = standby; up[m] = v - FOLLOW
	:: v >= REFOLLOW && role[m] == standby -> up[m] = v - REFOLLOW
	:: else -> reply = (v == STOP)
	fi;
	if
	:: reply ->
		assert(t >= seen[m]); /* S6, and S2: what it keeps only grows */
		seen[m] = t; stored[m] = t
	:: else
	fi
}

#ifdef NO_FENCING
#define OBEYS(m, t) true
#else
#define OBEYS(m, t) (t >= stored[m])
#endif

/* A batch at its member: the term is checked and the effect made in one. */
inline batch(m, v, t) {
	reply = false;
	if :: OBEYS(m, t) -> act(m, v, t); check() :: else fi
}

inline forget() { late_to = NOBODY; late_verb = NONE; late_term = 0 }

proctype Network() {
	bool reply;
	end: do
#ifdef TORN
	:: d_step { late_to != NOBODY && !passed && OBEYS(late_to, late_term) -> passed = true }
	:: d_step { passed -> passed = false; act(late_to, late_verb, late_term); check(); forget(); reply = false }
#else
	:: d_step { late_to != NOBODY -> batch(late_to, late_verb, late_term); forget(); reply = false }
	:: d_step { late_to != NOBODY -> forget() }
#endif
	od
}

#ifdef LOOK_PROVES
#define KEEPS_DOUBT false /* what is not there now is taken for what cannot come any more */
#else
#define KEEPS_DOUBT true
#endif

inline put_down(m) { hand[m] = NONE; hand_term[m] = 0; stands[m] = false; doubt = false }

/* Writes an answer if the order is still the one taken; else it is told to nobody. */
inline tell(m, what) { if :: stands[m] -> answer[m] = what :: else fi; put_down(m) }

/* `holds`: whether the effect is there, by an order of this very term. */
#define HOLDS(m) (stored[m] == hand_term[m] && ((hand[m] == STOP && role[m] == stopped) || \
	(hand[m] == RELEASE && role[m] == primary) || (hand[m] == REFUSE && role[m] == standby && up[m] == NOBODY) || \
	(hand[m] == PROMOTE && role[m] == primary) || (IS_FOLLOW(hand[m]) && up[m] == hand[m] - FOLLOW)))

#define HAS(m) (hand[m] != NONE)
#define ADMITS(m) (hand_term[m] >= obeyed[m])

proctype Agent(byte m) {
	bool reply, doubt; /* `doubt`: an agent that died may have begun it */
	end: do
	:: d_step { hand[m] == NONE && order[m] != NONE && answer[m] == none -> /* `_stands` */
		hand[m] = order[m]; hand_term[m] = order_term[m]; stands[m] = true; doubt = again[m]; again[m] = true }
	:: d_step { HAS(m) && !ADMITS(m) -> tell(m, not_done) }
	:: atomic { HAS(m) && ADMITS(m) -> obeyed[m] = hand_term[m];
		if
#ifndef DOUBLED
		:: HOLDS(m) -> tell(m, done)                     /* a look: it is so already */
#endif
		:: !HOLDS(m) ->                                  /* a look: it is not, and it cannot be asked to; or it refuses */
			if :: doubt && KEEPS_DOUBT && hand[m] == PROMOTE -> tell(m, unknown) :: else -> tell(m, not_done) fi
		:: d_step { batch(m, hand[m], hand_term[m]) };   /* it is done at once, or refused */
			if
			:: reply -> tell(m, done)
			:: !reply -> tell(m, not_done)
			:: tell(m, unknown)                          /* the reply is lost */
			:: put_down(m)                               /* the agent dies */
			fi;
			reply = false
		:: late_to == NOBODY -> /* it will arrive when nobody waits for it any more */
			late_to = m; late_verb = hand[m]; late_term = hand_term[m];
			if :: tell(m, unknown) :: put_down(m) fi
		fi }
	od
}

/* One commit of controller c: every other copy of the journal is old. */
inline wrote_journal(c) { fresh[c] = true; fresh[1 - c] = false; begun = true }
inline ask(m, v) { order[m] = v; order_term[m] = term; answer[m] = none; stands[m] = false; again[m] = false }
inline take_away(m) { order[m] = NONE; order_term[m] = 0; answer[m] = none; stands[m] = false; again[m] = false }

inline settle() {
	phase = no_run; turned = false; lost = false; promoted = false; starve = false; target = 0;
	tried[0] = false; tried[1] = false; tried[2] = false;
	fenced[0] = false; fenced[1] = false; fenced[2] = false;
	followed[0] = false; followed[1] = false; followed[2] = false;
	fresh[0] = false; fresh[1] = false; begun = false; promotions = 0
}

/* A person is called: nothing is ordered any more, what is under way may still arrive. */
inline call() { phase = stuck; fresh[0] = false; fresh[1] = false }

/* The receipt of member m's step goes into the journal. */
inline note_done(m) {
	if
	:: order[m] == STOP || order[m] == REFUSE -> fenced[m] = true
	:: order[m] == RELEASE || order[m] >= REFOLLOW -> fenced[m] = false; tried[m] = false
	:: order[m] == PROMOTE -> promoted = true
	:: else -> followed[m] = true
	fi;
	take_away(m)
}

/* Member m's step has finally failed, and was looked for: it has not happened. */
inline note_not_done(m) {
	if
	:: order[m] == PROMOTE ->
		if :: lost && KEEPS_DOUBT -> call() :: else -> turned = true fi /* a late try may still come: no way back */
	:: order[m] == STOP || order[m] == REFUSE -> tried[m] = false;
		if :: promoted || order[target] == PROMOTE :: else -> turned = true fi
	:: IS_FOLLOW(order[m]) -> followed[m] = false /* optional: it stays a finding */
	:: else -> call()
	fi;
	take_away(m)
}

#define IDLE (order[0] == NONE && order[1] == NONE && order[2] == NONE)
#define MINE (fresh[c] && phase == forward)
#ifdef UNPROVEN
#define MAY_PROMOTE (tried[placed] || (tried[target] && tried[THIRD]))
#else
#define MAY_PROMOTE FENCED
#endif

/* What a controller does with member m; the rules are `core.effects`. */
inline about(m) {
	if
	:: answer[m] == done -> note_done(m)
	:: answer[m] == not_done -> note_not_done(m)
	:: answer[m] == not_done || answer[m] == unknown || answer[m] == none -> /* once more; no answer is unknown */
		if :: order[m] == PROMOTE && answer[m] != not_done -> lost = true :: else fi;
		ask(m, order[m])
	:: answer[m] == unknown && !IS_FOLLOW(order[m]) -> take_away(m); call()
	:: answer[m] == unknown && IS_FOLLOW(order[m]) -> take_away(m)
	fi
}

proctype Controller(byte c) {
	byte m;
	end: do
	:: atomic { phase == no_run && runs < 2 && term < TERMS -> /* `open_run`: a plan is pinned at the next term */
		runs++; term++; phase = forward;
		select(m : 0 .. 2);
		if
		:: m != placed && role[m] == standby && up[m] == placed && (m == 1 || runs == 2) -> /* 1 and 2 are alike at first */
			target = m;
			if :: starve = true :: starve = false fi
		:: else -> runs--; term--; phase = no_run
		fi;
		m = 0; fresh[0] = false; fresh[1] = false }
	:: d_step { phase == forward && !begun && !fresh[c] && (c == 0 || fresh[0]) -> /* reads a journal of one entry */
		fresh[c] = true } /* the two are alike, so 0 comes first */
	:: atomic { phase == forward && begun && !fresh[c] && term < TERMS ->  /* takes over: the term goes up, all is asked anew */
		term++; wrote_journal(c);
		m = 0;
		do
		:: m < 3 ->
			if :: order[m] != NONE && answer[m] == none ->
				if :: order[m] == PROMOTE -> lost = true :: else fi;
				ask(m, order[m])
			:: else fi; m++
		:: else -> break
		od;
		m = 0 }
	/* the fence */
	:: d_step { MINE && !turned && !starve && !tried[placed] && !promoted ->
		wrote_journal(c); tried[placed] = true; ask(placed, STOP) }
	:: d_step { MINE && !turned && starve && !tried[target] && !promoted ->
		wrote_journal(c); tried[target] = true; ask(target, REFUSE) }
	:: d_step { MINE && !turned && starve && !tried[THIRD] && !promoted ->
		wrote_journal(c); tried[THIRD] = true; ask(THIRD, REFUSE) }
	/* the promotion, and what follows it */
	:: d_step { MINE && !turned && MAY_PROMOTE && !promoted && order[target] == NONE ->
		wrote_journal(c); ask(target, PROMOTE) }
	:: d_step { MINE && promoted && !followed[THIRD] && order[THIRD] == NONE -> wrote_journal(c); ask(THIRD, FOLLOW + target) }
	:: d_step { MINE && promoted && !followed[placed] && order[placed] == NONE -> wrote_journal(c); ask(placed, FOLLOW + target) }
	:: atomic { MINE && promoted && IDLE -> placed = target; settle() }
	/* the way back */
	:: d_step { MINE && turned && IDLE && fenced[placed] -> wrote_journal(c); ask(placed, RELEASE) }
	:: d_step { MINE && turned && IDLE && fenced[(placed + 1) % 3] -> wrote_journal(c); ask((placed + 1) % 3, REFOLLOW + placed) }
	:: d_step { MINE && turned && IDLE && fenced[(placed + 2) % 3] -> wrote_journal(c); ask((placed + 2) % 3, REFOLLOW + placed) }
	:: atomic { MINE && turned && IDLE && !fenced[0] && !fenced[1] && !fenced[2] -> settle() }
	/* answers, and tries that got none */
	:: atomic { MINE && order[0] != NONE -> wrote_journal(c); about(0) }
	:: atomic { MINE && order[1] != NONE -> wrote_journal(c); about(1) }
	:: atomic { MINE && order[2] != NONE -> wrote_journal(c); about(2) }
	od
}

init {
	atomic {
		role[0] = primary; role[1] = standby; role[2] = standby;
		up[0] = NOBODY; began[0] = 1;
		run Network();
		run Agent(0); run Agent(1); run Agent(2);
		run Controller(0); run Controller(1)
	}
}
