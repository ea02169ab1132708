-- Format 1 of Purlin's sessions. To be run in one transaction, by any number of servers at once, and as often as one
-- likes.
--
-- Times are microseconds since the Unix epoch by the server's clock, and the highest number is "never". Each of the
-- last functions is a call of the store, in a transaction of its own under READ COMMITTED, so that each statement sees
-- what was committed before it. A row is locked for the length of one call. A user is locked by the calls that count or
-- end all of their sessions, before any row is.

-- Two servers that create one function at the same moment would be in each other's way.
SELECT pg_advisory_xact_lock(8101820315331061876);

CREATE TABLE IF NOT EXISTS purlin_session_meta (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    format integer NOT NULL
);

CREATE TABLE IF NOT EXISTS purlin_session (
    key bytea PRIMARY KEY,
    -- 1 live, 2 rotated away, 3 deleted.
    state smallint NOT NULL,
    version bigint NOT NULL,
    -- The idle deadline of a live session, and otherwise the end of being remembered.
    till bigint NOT NULL,
    absolute bigint NOT NULL,
    grace bigint NOT NULL,
    -- Minutes. When the sweep looks at the row: never after its end, often before, since using a session does not
    -- move it. So a use changes no indexed column, and the new row version goes onto the same page (HOT).
    bucket integer NOT NULL,
    successor bytea,
    -- Whose it is, with the absolute deadline it had and the time when it became theirs: the oldest gives way first.
    owner bytea,
    seniority bigint NOT NULL,
    since bigint NOT NULL,
    payload bytea NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX IF NOT EXISTS purlin_session_bucket ON purlin_session (bucket);
CREATE INDEX IF NOT EXISTS purlin_session_owner ON purlin_session (owner) WHERE owner IS NOT NULL AND state = 1;

CREATE OR REPLACE FUNCTION purlin_session_now_1() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

-- A deadline so many microseconds from a time.
CREATE OR REPLACE FUNCTION purlin_session_after_1(now bigint, span bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN span > 9223372036854775807 - now THEN 9223372036854775807 ELSE now + span END
$$;

-- The first minute that begins at or after a deadline.
CREATE OR REPLACE FUNCTION purlin_session_bucket_1(deadline bigint) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT least(deadline / 60000000 + 1, 2147483647)::integer
$$;

-- What a caller is told of a row: 0 nothing, 1 to 3 its state, 4 the new key is taken, 5 done, 6 the user has as many
-- sessions as they may; times as what is left of them, -1 for ever.
DO $$ BEGIN
    CREATE TYPE purlin_session_answer_1 AS (
        state smallint, version bigint, idle_left bigint, absolute_left bigint, successor bytea, payload bytea, owner bytea
    );
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;

CREATE OR REPLACE FUNCTION purlin_session_tell_1(told integer, version bigint DEFAULT 0)
RETURNS purlin_session_answer_1 LANGUAGE sql IMMUTABLE AS $$
    SELECT (told::smallint, version, 0::bigint, 0::bigint, NULL::bytea, ''::bytea, NULL::bytea)::purlin_session_answer_1
$$;

CREATE OR REPLACE FUNCTION purlin_session_left_1(now bigint, deadline bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN deadline = 9223372036854775807 THEN -1 ELSE greatest(deadline - now, 0) END
$$;

-- The key under which a session lives that was moved to a key, or null.
CREATE OR REPLACE FUNCTION purlin_session_follow_1(now bigint, at bytea) RETURNS bytea LANGUAGE plpgsql VOLATILE AS $$
DECLARE r purlin_session;
BEGIN
    FOR hop IN 1..16 LOOP
        SELECT * INTO r FROM purlin_session s WHERE s.key = at AND s.till > now;
        IF NOT FOUND OR r.state = 3 THEN RETURN NULL; END IF;
        IF r.state = 1 THEN RETURN at; END IF;
        at := r.successor;
    END LOOP;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION purlin_session_view_1(now bigint, r purlin_session)
RETURNS purlin_session_answer_1 LANGUAGE plpgsql VOLATILE AS $$
DECLARE live bytea;
BEGIN
    IF r.state = 1 THEN
        RETURN (1::smallint, r.version, purlin_session_left_1(now, r.till), purlin_session_left_1(now, r.absolute),
                NULL::bytea, r.payload, r.owner);
    ELSIF r.state = 2 THEN
        live := purlin_session_follow_1(now, r.successor);
        RETURN (2::smallint, r.version, greatest(r.grace - now, 0), 0::bigint, live,
                CASE WHEN r.grace > now THEN r.payload ELSE ''::bytea END, r.owner);
    END IF;
    RETURN purlin_session_tell_1(0);
END $$;

-- Whether the key is free, and the session stands under it now.
CREATE OR REPLACE FUNCTION purlin_session_put_1(
    now bigint, k bytea, v bigint, idle bigint, absolute_till bigint, p bytea, u bytea, senior bigint, became bigint
) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE idle_till bigint := least(purlin_session_after_1(now, idle), absolute_till);
BEGIN
    INSERT INTO purlin_session AS s
        (key, state, version, till, absolute, grace, bucket, successor, owner, seniority, since, payload)
    VALUES (k, 1, v, idle_till, absolute_till, 0, purlin_session_bucket_1(idle_till), NULL, u, senior, became, p)
    ON CONFLICT (key) DO UPDATE SET state = 1, version = excluded.version, till = excluded.till,
        absolute = excluded.absolute, grace = 0, bucket = excluded.bucket, successor = NULL, owner = excluded.owner,
        seniority = excluded.seniority, since = excluded.since, payload = excluded.payload
    WHERE s.till <= now;
    RETURN FOUND;
END $$;

CREATE OR REPLACE FUNCTION purlin_session_is_taken_1(now bigint, k bytea) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT 1 FROM purlin_session s WHERE s.key = k AND s.till > now)
$$;

-- Until the end of the transaction, nobody else counts or ends all sessions of the user.
CREATE OR REPLACE FUNCTION purlin_session_lock_user_1(u bytea) RETURNS void LANGUAGE sql VOLATILE AS $$
    SELECT pg_advisory_xact_lock(('x' || encode(substring(u FOR 8), 'hex'))::bit(64)::bigint)
$$;

-- Leaves a tombstone of a session that lives.
CREATE OR REPLACE FUNCTION purlin_session_end_1(now bigint, k bytea, retention bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE purlin_session s SET state = 3, till = purlin_session_after_1(now, retention), payload = '',
        bucket = least(s.bucket, purlin_session_bucket_1(purlin_session_after_1(now, retention)))
    WHERE s.key = k AND s.state = 1 AND s.till > now;
    RETURN FOUND;
END $$;

-- Whether the user, who is locked, may have one more session. Ends the oldest ones for that if it may.
CREATE OR REPLACE FUNCTION purlin_session_make_way_1(now bigint, u bytea, most bigint, evicts boolean, retention bigint)
RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    present bigint;
    oldest bytea;
BEGIN
    LOOP
        SELECT count(*) INTO present FROM purlin_session s WHERE s.owner = u AND s.state = 1 AND s.till > now;
        IF present < most THEN RETURN true; END IF;
        IF NOT evicts THEN RETURN false; END IF;
        SELECT s.key INTO oldest FROM purlin_session s WHERE s.owner = u AND s.state = 1 AND s.till > now
        ORDER BY s.seniority, s.since LIMIT 1;
        -- One that moves away meanwhile is found under its new key the next time.
        PERFORM purlin_session_end_1(now, oldest, retention);
    END LOOP;
END $$;

-- The most is null for a user without a cap, and for nobody's session.
CREATE OR REPLACE FUNCTION purlin_session_create_1(
    k bytea, idle bigint, absolute_span bigint, p bytea, u bytea, most bigint, evicts boolean, retention bigint
) RETURNS purlin_session_answer_1 LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    now bigint;
    absolute_till bigint;
BEGIN
    IF most IS NOT NULL THEN PERFORM purlin_session_lock_user_1(u); END IF;
    -- After the wait for the user.
    now := purlin_session_now_1();
    IF most IS NOT NULL THEN
        IF purlin_session_is_taken_1(now, k) THEN RETURN purlin_session_tell_1(4); END IF;
        IF NOT purlin_session_make_way_1(now, u, most, evicts, retention) THEN RETURN purlin_session_tell_1(6); END IF;
    END IF;
    absolute_till := purlin_session_after_1(now, absolute_span);
    IF purlin_session_put_1(now, k, 1, idle, absolute_till, p, u, absolute_till, now) THEN
        RETURN purlin_session_tell_1(5, 1);
    END IF;
    RETURN purlin_session_tell_1(4);
END $$;

-- Slides if idle is not null and the move gains so much. Locks the row only if it moves.
CREATE OR REPLACE FUNCTION purlin_session_load_1(k bytea, idle bigint, min_gain bigint, bare boolean)
RETURNS purlin_session_answer_1 LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    now bigint := purlin_session_now_1();
    r purlin_session;
    target bigint;
BEGIN
    SELECT * INTO r FROM purlin_session s WHERE s.key = k;
    IF NOT FOUND THEN RETURN purlin_session_tell_1(0); END IF;
    IF r.till <= now THEN
        -- Before anybody is told that it has ended, so that a clock that is set back brings nothing back.
        DELETE FROM purlin_session s WHERE s.key = k AND s.till <= now;
        RETURN purlin_session_tell_1(0);
    END IF;
    IF r.state = 1 AND idle IS NOT NULL THEN
        target := least(purlin_session_after_1(now, idle), r.absolute);
        IF target > r.till AND target - r.till >= min_gain THEN
            UPDATE purlin_session s SET till = least(target, s.absolute)
            WHERE s.key = k AND s.state = 1 AND s.till > now AND s.till < target
            RETURNING * INTO r;
            IF NOT FOUND THEN
                SELECT * INTO r FROM purlin_session s WHERE s.key = k AND s.till > now;
                IF NOT FOUND THEN RETURN purlin_session_tell_1(0); END IF;
            END IF;
        END IF;
    END IF;
    IF bare THEN r.payload := ''; END IF;
    RETURN purlin_session_view_1(now, r);
END $$;

CREATE OR REPLACE FUNCTION purlin_session_load_many_1(keys bytea[])
RETURNS SETOF purlin_session_answer_1 LANGUAGE sql VOLATILE AS $$
    SELECT a.* FROM unnest(keys) WITH ORDINALITY AS asked (k, place),
        LATERAL purlin_session_load_1(asked.k, NULL, 0, false) AS a
    ORDER BY asked.place
$$;

CREATE OR REPLACE FUNCTION purlin_session_commit_1(k bytea, expected bigint, idle bigint, absolute_span bigint, p bytea)
RETURNS purlin_session_answer_1 LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    now bigint;
    r purlin_session;
    absolute_till bigint;
    idle_till bigint;
BEGIN
    SELECT * INTO r FROM purlin_session s WHERE s.key = k FOR UPDATE;
    IF NOT FOUND THEN RETURN purlin_session_tell_1(0); END IF;
    -- After the wait for the row.
    now := purlin_session_now_1();
    IF r.till <= now THEN
        DELETE FROM purlin_session s WHERE s.key = k;
        RETURN purlin_session_tell_1(0);
    END IF;
    IF r.state <> 1 OR r.version <> expected THEN RETURN purlin_session_view_1(now, r); END IF;
    absolute_till := least(purlin_session_after_1(now, absolute_span), r.absolute);
    idle_till := least(greatest(purlin_session_after_1(now, idle), r.till), absolute_till);
    UPDATE purlin_session s SET version = expected + 1, till = idle_till, absolute = absolute_till, payload = p,
        bucket = least(s.bucket, purlin_session_bucket_1(idle_till))
    WHERE s.key = k;
    RETURN purlin_session_tell_1(5, expected + 1);
END $$;

-- Whose the session becomes: change is 0 for whose it was, 1 for nobody's, 2 for that user's.
CREATE OR REPLACE FUNCTION purlin_session_rotate_1(
    old bytea, new bytea, expected bigint, idle bigint, absolute_span bigint, p bytea, grace_span bigint,
    change integer, u bytea, most bigint, evicts boolean, retention bigint
) RETURNS purlin_session_answer_1 LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    now bigint;
    r purlin_session;
    absolute_till bigint;
    grace_till bigint;
    senior bigint;
    became bigint;
BEGIN
    -- Users before rows, whether or not it turns out that the session is theirs already.
    IF change = 2 AND most IS NOT NULL THEN PERFORM purlin_session_lock_user_1(u); END IF;
    SELECT * INTO r FROM purlin_session s WHERE s.key = old FOR UPDATE;
    IF NOT FOUND THEN RETURN purlin_session_tell_1(0); END IF;
    now := purlin_session_now_1();
    IF r.till <= now THEN
        DELETE FROM purlin_session s WHERE s.key = old;
        RETURN purlin_session_tell_1(0);
    END IF;
    IF r.state <> 1 OR r.version <> expected THEN RETURN purlin_session_view_1(now, r); END IF;
    IF purlin_session_is_taken_1(now, new) THEN RETURN purlin_session_tell_1(4); END IF;
    absolute_till := least(purlin_session_after_1(now, absolute_span), r.absolute);
    IF change = 0 THEN u := r.owner; END IF;
    IF change = 1 THEN u := NULL; END IF;
    senior := r.seniority;
    became := r.since;
    IF u IS DISTINCT FROM r.owner THEN
        senior := absolute_till;
        became := now;
        IF most IS NOT NULL AND NOT purlin_session_make_way_1(now, u, most, evicts, retention) THEN
            RETURN purlin_session_tell_1(6);
        END IF;
    END IF;
    IF NOT purlin_session_put_1(now, new, expected + 1, idle, absolute_till, p, u, senior, became) THEN
        RETURN purlin_session_tell_1(4);
    END IF;
    grace_till := least(purlin_session_after_1(now, least(grace_span, retention)), r.till);
    UPDATE purlin_session s SET state = 2, grace = grace_till, till = purlin_session_after_1(now, retention),
        successor = new,
        bucket = least(s.bucket, purlin_session_bucket_1(grace_till))
    WHERE s.key = old;
    RETURN purlin_session_tell_1(5, expected + 1);
END $$;

CREATE OR REPLACE FUNCTION purlin_session_delete_1(k bytea, retention bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    now bigint;
    r purlin_session;
BEGIN
    FOR hop IN 0..16 LOOP
        SELECT * INTO r FROM purlin_session s WHERE s.key = k FOR UPDATE;
        IF NOT FOUND THEN RETURN false; END IF;
        now := purlin_session_now_1();
        IF r.till <= now THEN
            DELETE FROM purlin_session s WHERE s.key = k;
            RETURN false;
        END IF;
        IF r.state = 1 THEN RETURN purlin_session_end_1(now, k, retention); END IF;
        IF r.state = 3 OR (hop = 0 AND r.grace <= now) THEN RETURN false; END IF;
        k := r.successor;
    END LOOP;
    RETURN false;
END $$;

CREATE OR REPLACE FUNCTION purlin_session_by_user_1(u bytea) RETURNS SETOF bytea LANGUAGE sql VOLATILE AS $$
    SELECT s.key FROM purlin_session s WHERE s.owner = u AND s.state = 1 AND s.till > purlin_session_now_1()
$$;

-- The key under which the session of a key lives, for whoever can load that key. It cannot move until the end of the
-- transaction.
CREATE OR REPLACE FUNCTION purlin_session_hold_1(k bytea) RETURNS bytea LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    now bigint := purlin_session_now_1();
    at bytea := k;
    r purlin_session;
BEGIN
    -- As many moves as a key is followed, and as many that come in between.
    FOR look IN 1..32 LOOP
        SELECT * INTO r FROM purlin_session s WHERE s.key = at AND s.till > now;
        IF NOT FOUND OR r.state = 3 OR (at = k AND r.state = 2 AND r.grace <= now) THEN RETURN NULL; END IF;
        IF r.state = 2 THEN
            at := r.successor;
        ELSE
            PERFORM 1 FROM purlin_session s WHERE s.key = at AND s.state = 1 FOR UPDATE;
            IF FOUND THEN RETURN at; END IF;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

-- Ends all sessions of a user but that of a key, which may be null.
CREATE OR REPLACE FUNCTION purlin_session_revoke_1(u bytea, spare bytea, retention bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    now bigint;
    spared bytea;
    victim bytea;
    ended bigint := 0;
BEGIN
    PERFORM purlin_session_lock_user_1(u);
    IF spare IS NOT NULL THEN spared := purlin_session_hold_1(spare); END IF;
    -- A session that moves while it is being ended is seen under its new key the next time. Each new look sees all that
    -- was committed by then.
    FOR look IN 1..64 LOOP
        now := purlin_session_now_1();
        FOR victim IN SELECT s.key FROM purlin_session s
            WHERE s.owner = u AND s.state = 1 AND s.till > now AND s.key IS DISTINCT FROM spared
        LOOP
            IF purlin_session_end_1(now, victim, retention) THEN ended := ended + 1; END IF;
        END LOOP;
        IF NOT FOUND THEN RETURN ended; END IF;
    END LOOP;
    RAISE EXCEPTION 'sessions come faster than they end' USING ERRCODE = 'lock_not_available';
END $$;

-- Looks at so many rows that are due and that nobody else looks at: removes those that have ended, and files the others
-- under their new end.
CREATE OR REPLACE FUNCTION purlin_session_sweep_1(budget bigint, OUT removed bigint, OUT looked_at bigint)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    now bigint := purlin_session_now_1();
    present integer := (now / 60000000)::integer;
BEGIN
    WITH due AS MATERIALIZED (
        SELECT s.key, s.till FROM purlin_session s WHERE s.bucket <= present
        ORDER BY s.bucket LIMIT budget FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM purlin_session s USING due WHERE s.key = due.key AND due.till <= now RETURNING 1
    ), refiled AS (
        UPDATE purlin_session s SET bucket = purlin_session_bucket_1(s.till),
            payload = CASE WHEN s.state = 2 AND s.grace <= now THEN ''::bytea ELSE s.payload END
        FROM due WHERE s.key = due.key AND due.till > now RETURNING 1
    )
    SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM due) INTO removed, looked_at;
END $$;

INSERT INTO purlin_session_meta (format) VALUES (1) ON CONFLICT (single) DO NOTHING;
