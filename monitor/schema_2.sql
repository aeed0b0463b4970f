-- Version 2 of metrics.sqlite: what the curators measured.

CREATE TABLE looks (                  -- of every picture whose bytes were looked at
    run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    domain TEXT NOT NULL,             -- A, B
    path TEXT NOT NULL,               -- as in curation
    w INTEGER NOT NULL,
    h INTEGER NOT NULL,
    luma REAL NOT NULL,               -- mean, 0..255
    contrast REAL NOT NULL,           -- deviation of luma
    entropy REAL NOT NULL,            -- of luma, bits
    chroma REAL NOT NULL,             -- mean of the largest minus the smallest channel
    sharpness REAL NOT NULL,          -- variance of the Laplacian
    hash TEXT NOT NULL,               -- perceptual, 32 hex digits
    twin_bits REAL,                   -- in which it differs from the most alike kept before
    borderline TEXT NOT NULL,         -- the setting it nearly missed or met; empty: none
    PRIMARY KEY (run_id, domain, path)
) STRICT, WITHOUT ROWID;

-- Three numbers of a param, as JSON.
CREATE VIEW data_param AS
SELECT p.run_id, r.name AS run, substr(p.key, 6, instr(substr(p.key, 6), '.') - 1) AS domain,
       substr(p.key, 6 + instr(substr(p.key, 6), '.')) AS name, p.value,
       '[' || replace(p.value, ' ', ',') || ']' AS list
FROM param p JOIN run r USING (run_id)
WHERE p.key GLOB 'data.*.*' AND p.key NOT GLOB '*.summary';

-- What the pictures to train on look like in each domain, and, as a third row, how far the two lie
-- apart (earth mover's distance, in levels of 255; `colours` is the mean of red, green and blue).
CREATE VIEW domains AS
SELECT run, domain,
       CAST(max(value) FILTER (WHERE name = 'kept') AS INTEGER) AS pictures,
       max(json_extract(list, '$[0]')) FILTER (WHERE name IN ('mean', 'earth')) AS red,
       max(json_extract(list, '$[1]')) FILTER (WHERE name IN ('mean', 'earth')) AS green,
       max(json_extract(list, '$[2]')) FILTER (WHERE name IN ('mean', 'earth')) AS blue,
       max(json_extract(list, CASE name WHEN 'luma' THEN '$[0]' ELSE '$[3]' END))
           FILTER (WHERE name IN ('luma', 'earth')) AS luma,
       CAST(max(value) FILTER (WHERE name = 'colours') AS REAL) AS colours,
       CAST(max(value) FILTER (WHERE name = 'contrast') AS REAL) AS contrast,
       CAST(max(value) FILTER (WHERE name = 'chroma') AS REAL) AS chroma,
       CAST(max(value) FILTER (WHERE name = 'sharpness') AS REAL) AS sharpness,
       CAST(max(value) FILTER (WHERE name = 'side_median') AS REAL) AS side_median,
       CAST(max(value) FILTER (WHERE name = 'aspect_median') AS REAL) AS aspect_median
FROM data_param
GROUP BY run, domain;

-- Pictures that were kept or left out by little.
CREATE VIEW borderline AS
SELECT r.name AS run, c.domain, l.borderline AS setting, c.verdict, c.path, c.detail, l.w, l.h,
       l.luma, l.contrast, l.entropy, l.chroma, l.sharpness, l.twin_bits
FROM looks l JOIN curation c USING (run_id, domain, path) JOIN run r USING (run_id)
WHERE l.borderline <> '';
