-- The table of every scenario that names no other. FULL: a change event has the whole row as it was before.
CREATE TABLE IF NOT EXISTS acct (
  id BIGINT PRIMARY KEY,
  balance NUMERIC(12,2) NOT NULL CHECK (balance >= 0),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
ALTER TABLE acct REPLICA IDENTITY FULL;
INSERT INTO acct (id, balance) VALUES (1, 100.00) ON CONFLICT (id) DO NOTHING;
