-- Who may use the console: accounts with their passwords' hashes, and the sessions of those who are in.

create table users (
  id bigint generated always as identity primary key,
  name text not null,
  role text not null,
  -- Argon2id, as a PHC string.
  password text not null,
  -- Of the pages; none as the browser wishes.
  locale text,
  created_at timestamptz not null default recado_now(),
  seen_at timestamptz,
  disabled_at timestamptz,
  constraint user_role_is_known check (role in ('viewer', 'operator', 'admin')),
  constraint user_name_is_short check (name <> '' and length(name) <= 60)
);
create unique index users_by_name on users (lower(name));

create table sessions (
  -- Of 32 random bytes, which only the browser has.
  hash bytea primary key,
  user_id bigint not null references users on delete cascade,
  began_at timestamptz not null default recado_now(),
  -- To the minute.
  used_at timestamptz not null default recado_now()
);
create index sessions_by_user on sessions (user_id);
create index sessions_by_age on sessions (used_at);
