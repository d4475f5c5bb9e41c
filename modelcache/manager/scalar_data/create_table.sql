-- The tables of a scalar store, as MySQL DDL; tested on MariaDB 10.11 and on OceanBase's seekdb 1.4.
-- The service runs it itself in an empty database, unless mysql_migrate is false. By hand:
--   mysql modelcache < reference_doc/create_table.sql
-- The demo's SQLite file holds the same tables, columns and indexes; a test keeps them equal.

-- The version of the schema; one row for each migration that was applied.
CREATE TABLE IF NOT EXISTS modelcache_schema (
    version INT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- One row for each cached question with its answer.
-- is_deleted: 1 being written, 0 live, -1 soft-deleted.
-- model_key, partition_key, fingerprint: hashes, so that equality does not depend on a collation.
-- embedding_data: float32, little-endian, of the last turn, then of the earlier turns compared by meaning;
-- NULL for a text that is only matched exactly.
-- expires_at, last_used_at: seconds since the epoch. metadata: JSON of the client's own. scope: JSON of its keys
-- besides the model.
CREATE TABLE IF NOT EXISTS modelcache_llm_answer (
    id BIGINT NOT NULL AUTO_INCREMENT,
    gmt_create DATETIME NOT NULL,
    gmt_modified DATETIME NOT NULL,
    question MEDIUMTEXT NOT NULL,
    answer MEDIUMTEXT NOT NULL,
    answer_type INT NOT NULL DEFAULT 0,
    hit_count BIGINT NOT NULL DEFAULT 0,
    model VARCHAR(256) NOT NULL,
    embedding_data MEDIUMBLOB,
    is_deleted TINYINT NOT NULL,
    model_key CHAR(40) NOT NULL,
    partition_key CHAR(40) NOT NULL,
    fingerprint CHAR(40) NOT NULL,
    embedder VARCHAR(128) NOT NULL,
    expires_at DOUBLE,
    metadata MEDIUMTEXT,
    scope MEDIUMTEXT,
    last_used_at DOUBLE NOT NULL,
    PRIMARY KEY (id),
    KEY idx_answer_fingerprint (fingerprint, is_deleted),
    KEY idx_answer_model (model_key, is_deleted, embedder),
    KEY idx_answer_state (is_deleted, expires_at),
    KEY idx_answer_page (model_key, is_deleted, id),
    KEY idx_answer_age (model_key, is_deleted, gmt_create),
    KEY idx_answer_hits (model_key, is_deleted, hit_count, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The tags of an entry; tag_key is the hash of model and tag.
CREATE TABLE IF NOT EXISTS modelcache_answer_tag (
    answer_id BIGINT NOT NULL,
    tag_key CHAR(40) NOT NULL,
    tag VARCHAR(256) NOT NULL,
    PRIMARY KEY (tag_key, answer_id),
    KEY idx_tag_answer (answer_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What an entry's answer was made from; source_key is the hash of model and source.
CREATE TABLE IF NOT EXISTS modelcache_answer_source (
    answer_id BIGINT NOT NULL,
    source_key CHAR(40) NOT NULL,
    source VARCHAR(256) NOT NULL,
    PRIMARY KEY (source_key, answer_id),
    KEY idx_source_answer (answer_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- When something was last removed (epoch seconds): what was looked up before that is not inserted any more.
-- removal_key: the hash of a tag, source or key of a scope in its model, or of the model.
CREATE TABLE IF NOT EXISTS modelcache_removal (
    removal_key CHAR(40) NOT NULL,
    removed_at DOUBLE NOT NULL,
    PRIMARY KEY (removal_key),
    KEY idx_removal_at (removed_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What the gateway keeps beside an answer, as JSON: the completion that the answer is the text of.
CREATE TABLE IF NOT EXISTS modelcache_envelope (
    answer_id BIGINT NOT NULL,
    envelope MEDIUMTEXT NOT NULL,
    PRIMARY KEY (answer_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- One row for each query, written in the background; cut at 10,000 characters a text.
-- entry_id, confidence (0..1): of the entry that answered or, where none did, of the nearest one.
CREATE TABLE IF NOT EXISTS modelcache_query_log (
    id BIGINT NOT NULL AUTO_INCREMENT,
    gmt_create DATETIME NOT NULL,
    gmt_modified DATETIME NOT NULL,
    error_code INT NOT NULL,
    error_desc TEXT NOT NULL,
    cache_hit TINYINT NOT NULL,
    delta_time DOUBLE NOT NULL,
    model VARCHAR(256) NOT NULL,
    model_key CHAR(40) NOT NULL,
    query MEDIUMTEXT NOT NULL,
    hit_query MEDIUMTEXT NOT NULL,
    answer MEDIUMTEXT NOT NULL,
    entry_id BIGINT,
    confidence DOUBLE,
    PRIMARY KEY (id),
    KEY idx_log_model (model_key),
    KEY idx_log_create (gmt_create)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Which process does what one can do for all, such as a sweep, and until when (epoch seconds).
CREATE TABLE IF NOT EXISTS modelcache_lease (
    name VARCHAR(128) NOT NULL,
    holder VARCHAR(128) NOT NULL,
    expires_at DOUBLE NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Whether an entry's answer was right for a question (its fingerprint), and with what score the entry was chosen.
-- told: 1 by feedback, 0 by the answer that was inserted afterwards. observed_at: seconds since the epoch.
-- embedding_data: the question's vector, of feedback only.
CREATE TABLE IF NOT EXISTS modelcache_observation (
    answer_id BIGINT NOT NULL,
    fingerprint CHAR(40) NOT NULL,
    told TINYINT NOT NULL,
    model_key CHAR(40) NOT NULL,
    score DOUBLE NOT NULL,
    correct TINYINT NOT NULL,
    observed_at DOUBLE NOT NULL,
    embedder VARCHAR(128) NOT NULL,
    embedding_data MEDIUMBLOB,
    PRIMARY KEY (answer_id, fingerprint, told),
    KEY idx_observation_model (model_key, observed_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Queries that an entry might have answered and that were told a miss, until their answers are inserted.
CREATE TABLE IF NOT EXISTS modelcache_lookup (
    fingerprint CHAR(40) NOT NULL,
    partition_key CHAR(40) NOT NULL,
    model_key CHAR(40) NOT NULL,
    answer_id BIGINT NOT NULL,
    score DOUBLE NOT NULL,
    asked_at DOUBLE NOT NULL,
    PRIMARY KEY (fingerprint),
    KEY idx_lookup_model (model_key),
    KEY idx_lookup_asked (asked_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What is set for a model while the service runs; NULL: as the settings say.
CREATE TABLE IF NOT EXISTS modelcache_policy (
    model_key CHAR(40) NOT NULL,
    model VARCHAR(256) NOT NULL,
    mode VARCHAR(16),
    error_rate DOUBLE,
    PRIMARY KEY (model_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- How many queries became what, by the score of their best entry in thousandths: for the report on a model.
CREATE TABLE IF NOT EXISTS modelcache_tally (
    model_key CHAR(40) NOT NULL,
    outcome VARCHAR(16) NOT NULL,
    bucket INT NOT NULL,
    queries BIGINT NOT NULL,
    PRIMARY KEY (model_key, outcome, bucket)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What is set for a model's entries; NULL: as the settings say, 0: no limit.
CREATE TABLE IF NOT EXISTS modelcache_model_limit (
    model_key CHAR(40) NOT NULL,
    ttl DOUBLE,
    max_size BIGINT,
    PRIMARY KEY (model_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The vector that an embedder gave to a fixed text, and how often it has changed: see the embedder's drift.
CREATE TABLE IF NOT EXISTS modelcache_probe (
    embedder VARCHAR(128) NOT NULL,
    generation INT NOT NULL,
    embedding_data MEDIUMBLOB NOT NULL,
    PRIMARY KEY (embedder)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What happened to each model on each day (days since 1970, UTC), in numbers that add up.
CREATE TABLE IF NOT EXISTS modelcache_day_count (
    day INT NOT NULL,
    model_key CHAR(40) NOT NULL,
    model VARCHAR(256) NOT NULL,
    name VARCHAR(64) NOT NULL,
    amount DOUBLE NOT NULL,
    PRIMARY KEY (day, model_key, name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT INTO modelcache_schema (version) VALUES (5);
