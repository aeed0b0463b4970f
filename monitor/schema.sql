-- Version 1 of metrics.sqlite. One file for all runs; times are microseconds since 1970 (UTC).
-- Written by the monitor only, within one transaction per version.

CREATE TABLE run (
    run_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,             -- running, finished, stopped, failed
    started_us INTEGER NOT NULL,
    ended_us INTEGER,                 -- NULL while it runs
    conf_text TEXT NOT NULL,          -- the effective pipeline.conf
    code_version TEXT NOT NULL,
    seed INTEGER NOT NULL,
    device TEXT                       -- cpu, cuda; NULL: not known yet
) STRICT;

CREATE TABLE param (                  -- every setting, and facts found out about the data
    run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    key TEXT NOT NULL,                -- loader.batch_size, manifest.A.digest, ...
    value TEXT NOT NULL,
    PRIMARY KEY (run_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE metric_key (
    key_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,        -- loss/D_A, rate/img_per_s, ...
    replayable INTEGER NOT NULL       -- 1: a repeated step gives the same bits
) STRICT;

CREATE TABLE metric (
    run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    key_id INTEGER NOT NULL REFERENCES metric_key,
    step INTEGER NOT NULL,
    ts_us INTEGER NOT NULL,
    value REAL,                       -- NULL when it is not a number
    special INTEGER NOT NULL,         -- 0 finite, 1 NaN, 2 +Inf, 3 -Inf
    PRIMARY KEY (run_id, key_id, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE sample (
    run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    step INTEGER NOT NULL,
    kind TEXT NOT NULL,               -- sheet, contact, ...
    path TEXT NOT NULL,               -- relative to the run's folder
    PRIMARY KEY (run_id, step, kind, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE curation (               -- what the curators decided, picture by picture
    run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    domain TEXT NOT NULL,             -- A, B
    path TEXT NOT NULL,               -- relative to the curator's root
    verdict TEXT NOT NULL,            -- keep, hold_out, reject
    reason TEXT NOT NULL,
    score REAL,
    detail TEXT NOT NULL,
    PRIMARY KEY (run_id, domain, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE process (                -- one row per life of a process
    run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    process TEXT NOT NULL,
    instance INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    pid INTEGER,
    started_us INTEGER,
    ended_us INTEGER,
    exit_code INTEGER,                -- 128 + signal if it was killed
    peak_rss_bytes INTEGER,
    PRIMARY KEY (run_id, process, instance, incarnation)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    event_id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    ts_us INTEGER NOT NULL,
    level TEXT NOT NULL,              -- info, warn, error
    process TEXT NOT NULL,
    code TEXT NOT NULL,
    step INTEGER NOT NULL,            -- 0 if it has none
    message TEXT NOT NULL
) STRICT;
CREATE INDEX event_by_time ON event (run_id, ts_us);

CREATE TABLE checkpoint (
    run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    step INTEGER NOT NULL,
    dir TEXT NOT NULL,                -- relative to the run's folder
    digest TEXT NOT NULL,             -- SHA-256 of its state.json
    PRIMARY KEY (run_id, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE ingest_cursor (          -- what has been taken; in the transaction of the rows
    run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    process TEXT NOT NULL,
    instance INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    PRIMARY KEY (run_id, process, instance)
) STRICT, WITHOUT ROWID;

-- ---- questions people ask ----

-- Every number with its names.
CREATE VIEW metrics AS
SELECT r.name AS run, k.name AS key, m.step, m.value, m.special,
       datetime(m.ts_us / 1000000, 'unixepoch') AS utc, k.replayable
FROM metric m JOIN metric_key k USING (key_id) JOIN run r USING (run_id);

-- One row per step, one column per loss. NaN shows as NULL.
CREATE VIEW losses AS
SELECT r.name AS run, m.step,
       max(m.value) FILTER (WHERE k.name = 'loss/D_A') AS D_A,
       max(m.value) FILTER (WHERE k.name = 'loss/G_A') AS G_A,
       max(m.value) FILTER (WHERE k.name = 'loss/cycle_A') AS cycle_A,
       max(m.value) FILTER (WHERE k.name = 'loss/idt_A') AS idt_A,
       max(m.value) FILTER (WHERE k.name = 'loss/D_B') AS D_B,
       max(m.value) FILTER (WHERE k.name = 'loss/G_B') AS G_B,
       max(m.value) FILTER (WHERE k.name = 'loss/cycle_B') AS cycle_B,
       max(m.value) FILTER (WHERE k.name = 'loss/idt_B') AS idt_B
FROM run r JOIN metric_key k ON k.name GLOB 'loss/*'
     JOIN metric m ON m.run_id = r.run_id AND m.key_id = k.key_id
GROUP BY r.name, m.step;

-- The newest value of every metric.
CREATE VIEW latest AS
SELECT r.name AS run, k.name AS key, m.step, m.value, m.special, m.ts_us
FROM run r CROSS JOIN metric_key k
     JOIN metric m ON m.run_id = r.run_id AND m.key_id = k.key_id
          AND m.step = (SELECT max(n.step) FROM metric n
                        WHERE n.run_id = r.run_id AND n.key_id = k.key_id);

-- Speed in blocks of 100 steps. wait_share: of the step's time, how much the data were waited for.
CREATE VIEW throughput AS
SELECT b.run, b.step,
       (SELECT e.value FROM metric e WHERE e.run_id = b.run_id AND e.step <= b.last
               AND e.key_id = (SELECT key_id FROM metric_key WHERE name = 'epoch')
        ORDER BY e.step DESC LIMIT 1) AS epoch,
       b.steps, b.img_per_s, b.step_ms, b.wait_share
FROM (SELECT r.name AS run, r.run_id, m.step / 100 * 100 AS step, max(m.step) AS last,
             count(*) FILTER (WHERE k.name = 'rate/img_per_s') AS steps,
             avg(m.value) FILTER (WHERE k.name = 'rate/img_per_s') AS img_per_s,
             avg(m.value) FILTER (WHERE k.name = 'time/step_ms') AS step_ms,
             sum(m.value) FILTER (WHERE k.name = 'time/wait_ms')
                 / nullif(sum(m.value) FILTER (WHERE k.name = 'time/step_ms'), 0) AS wait_share
      FROM run r JOIN metric_key k ON k.name IN ('rate/img_per_s', 'time/step_ms', 'time/wait_ms')
           JOIN metric m ON m.run_id = r.run_id AND m.key_id = k.key_id
      GROUP BY r.name, m.step / 100) b;

-- Where the time goes: waiting for data, and the loaders' stages (microseconds per batch).
CREATE VIEW stalls AS
SELECT r.name AS run,
       sum(m.value) FILTER (WHERE k.name = 'time/wait_ms')
           / nullif(sum(m.value) FILTER (WHERE k.name = 'time/step_ms'), 0) AS wait_share,
       avg(m.value) FILTER (WHERE k.name = 'time/step_ms') AS step_ms,
       avg(m.value) FILTER (WHERE k.name = 'time/wait_ms') AS wait_ms,
       max(m.value) FILTER (WHERE k.name = 'time/wait_ms') AS longest_wait_ms,
       avg(m.value) FILTER (WHERE k.name = 'loader/read_us') AS read_us,
       avg(m.value) FILTER (WHERE k.name = 'loader/decode_us') AS decode_us,
       avg(m.value) FILTER (WHERE k.name = 'loader/resize_us') AS resize_us,
       avg(m.value) FILTER (WHERE k.name = 'loader/cache_hit_share') AS cache_hit_share,
       avg(m.value) FILTER (WHERE k.name = 'pool/exchange_us') AS exchange_us
FROM run r JOIN metric_key k ON k.name GLOB 'time/*' OR k.name GLOB 'loader/*'
                             OR k.name = 'pool/exchange_us'
     JOIN metric m ON m.run_id = r.run_id AND m.key_id = k.key_id
GROUP BY r.name;

-- Processes that were started again after an end that was not in order, and how that was.
CREATE VIEW restarts AS
SELECT r.name AS run, p.process, p.instance, p.incarnation,
       datetime(p.started_us / 1000000, 'unixepoch') AS started,
       b.exit_code AS exit_code_before, (p.started_us - b.ended_us) / 1e6 AS down_s
FROM process p JOIN run r USING (run_id)
     LEFT JOIN process b ON b.run_id = p.run_id AND b.process = p.process
          AND b.instance = p.instance AND b.incarnation = p.incarnation - 1
WHERE p.incarnation > 1 AND p.started_us IS NOT NULL AND b.exit_code IS NOT 0;

-- What differs between two runs: WHERE run_a = 'x' AND run_b = 'y'. NULL: it has no such key.
CREATE VIEW param_diff AS
SELECT a.name AS run_a, b.name AS run_b, k.key, pa.value AS value_a, pb.value AS value_b
FROM run a JOIN run b ON a.run_id <> b.run_id
     JOIN (SELECT DISTINCT key FROM param) k
     LEFT JOIN param pa ON pa.run_id = a.run_id AND pa.key = k.key
     LEFT JOIN param pb ON pb.run_id = b.run_id AND pb.key = k.key
WHERE pa.value IS NOT pb.value;

-- Pictures that were not kept, by reason, with an example.
CREATE VIEW rejects AS
SELECT r.name AS run, c.domain, c.reason, count(*) AS pictures, min(c.path) AS example
FROM curation c JOIN run r USING (run_id)
WHERE c.verdict = 'reject'
GROUP BY r.name, c.domain, c.reason;

-- A run in a line.
CREATE VIEW run_summary AS
SELECT r.name AS run, r.status, r.device,
       datetime(r.started_us / 1000000, 'unixepoch') AS started,
       round((coalesce(r.ended_us, (SELECT max(e.ts_us) FROM event e WHERE e.run_id = r.run_id),
                       r.started_us) - r.started_us) / 3.6e9, 3) AS hours,
       (SELECT max(l.step) FROM latest l WHERE l.run = r.name AND l.key GLOB 'loss/*') AS steps,
       (SELECT l.value FROM latest l WHERE l.run = r.name AND l.key = 'epoch') AS epoch,
       (SELECT avg(t.img_per_s) FROM throughput t WHERE t.run = r.name) AS img_per_s,
       (SELECT s.wait_share FROM stalls s WHERE s.run = r.name) AS wait_share,
       (SELECT l.value FROM latest l WHERE l.run = r.name AND l.key = 'swd/AtoB') AS swd_AtoB,
       (SELECT l.value FROM latest l WHERE l.run = r.name AND l.key = 'swd/BtoA') AS swd_BtoA,
       (SELECT count(*) FROM checkpoint c WHERE c.run_id = r.run_id) AS checkpoints,
       (SELECT count(*) FROM restarts s WHERE s.run = r.name) AS restarts,
       (SELECT count(*) FROM curation c WHERE c.run_id = r.run_id AND c.domain = 'A'
               AND c.verdict = 'keep') AS pictures_A,
       (SELECT count(*) FROM curation c WHERE c.run_id = r.run_id AND c.domain = 'B'
               AND c.verdict = 'keep') AS pictures_B,
       (SELECT max(p.peak_rss_bytes) FROM process p WHERE p.run_id = r.run_id) AS peak_rss_bytes
FROM run r;
