-- The console's accounts, and who is logged in.

create table users (
  id uuid primary key,
  name text not null unique,
  role text not null check (role in ('viewer', 'operator', 'admin')),
  -- Argon2id, as a PHC string.
  password text not null,
  -- The browser's, if none.
  language text check (language in ('en', 'es', 'pt_BR')),
  created_at timestamptz not null default recado_now(),
  password_set_at timestamptz not null default recado_now(),
  -- To the minute.
  seen_at timestamptz,
  disabled_at timestamptz,
  constraint users_name_is_plain check (name ~ '^[a-z0-9][a-z0-9._@-]{0,59}$'),
  constraint users_password_is_hashed check (password like '$argon2id$%')
);

create table sessions (
  -- Of the token that the browser's cookie holds.
  hash bytea primary key,
  account uuid not null references users (id) on delete cascade,
  began_at timestamptz not null default recado_now(),
  -- To the minute.
  used_at timestamptz not null default recado_now(),
  ends_at timestamptz not null,
  constraint sessions_hash_is_sha256 check (octet_length(hash) = 32)
);
create index sessions_by_account on sessions (account);
create index sessions_by_end on sessions (ends_at);

-- The audit page reads by who and by what, the latest first.
create index audit_by_person on audit (by, id);
create index audit_by_act on audit (what, id);
