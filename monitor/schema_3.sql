-- Version 3 of metrics.sqlite: all texts are valid UTF-8. Texts of other bytes, as names of files may
-- have, are escaped: \xHH for a byte, \\ for a backslash. utf8_escaped is the monitor's function.

ALTER TABLE curation ADD COLUMN path_bytes BLOB; -- the path as the file system has it; NULL: as `path`

-- OR REPLACE: the escaped path may be another file's name. Rows that arrive replace such a row too.
UPDATE OR REPLACE curation SET path_bytes = CAST(path AS BLOB), path = utf8_escaped(path)
WHERE path <> utf8_escaped(path);
UPDATE curation SET detail = utf8_escaped(detail) WHERE detail <> utf8_escaped(detail);
UPDATE OR REPLACE looks SET path = utf8_escaped(path) WHERE path <> utf8_escaped(path);
UPDATE event SET message = utf8_escaped(message) WHERE message <> utf8_escaped(message);
UPDATE param SET value = utf8_escaped(value) WHERE value <> utf8_escaped(value);
UPDATE run SET conf_text = utf8_escaped(conf_text) WHERE conf_text <> utf8_escaped(conf_text);
