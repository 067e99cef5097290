--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: _sqlx_migrations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public._sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);


--
-- Name: account_changes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.account_changes (
    user_id uuid NOT NULL,
    number bigint NOT NULL
);


--
-- Name: chain_statements; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.chain_statements (
    user_id uuid NOT NULL,
    sequence bigint NOT NULL,
    kind text NOT NULL,
    previous_hash bytea NOT NULL,
    signer_key bytea NOT NULL,
    new_key bytea,
    target_hash bytea,
    reason text,
    created_at_ms bigint NOT NULL,
    signature bytea NOT NULL,
    signature_new bytea,
    accepted_at_ms bigint NOT NULL,
    CONSTRAINT chain_statements_check CHECK (((kind = 'rotation'::text) = (new_key IS NOT NULL))),
    CONSTRAINT chain_statements_check1 CHECK (((kind = 'rotation'::text) = (reason IS NOT NULL))),
    CONSTRAINT chain_statements_check2 CHECK (((kind = 'rotation'::text) = (signature_new IS NOT NULL))),
    CONSTRAINT chain_statements_check3 CHECK (((kind = 'cancellation'::text) = (target_hash IS NOT NULL))),
    CONSTRAINT chain_statements_kind_check CHECK ((kind = ANY (ARRAY['rotation'::text, 'cancellation'::text])))
);


--
-- Name: chat_messages; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.chat_messages (
    room_id uuid NOT NULL,
    seq bigint NOT NULL,
    request_id text COLLATE pg_catalog."C",
    sender_device_id text NOT NULL COLLATE pg_catalog."C",
    sender_user_id uuid NOT NULL,
    sender_fingerprint bytea,
    payload bytea NOT NULL,
    created_at_ms bigint NOT NULL
);


--
-- Name: contact_requests; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.contact_requests (
    user_id uuid NOT NULL,
    typed bytea NOT NULL,
    peer_id uuid NOT NULL,
    by_address boolean NOT NULL,
    asked_at_ms bigint NOT NULL
);


--
-- Name: contacts; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.contacts (
    user_id uuid NOT NULL,
    peer_id uuid NOT NULL,
    decision text,
    decided_at_ms bigint,
    asked_at_ms bigint,
    was_asked_at_ms bigint,
    reached_out_at_ms bigint,
    asked_by_address_at_ms bigint,
    answered_at_ms bigint,
    peer_label text,
    CONSTRAINT contacts_check CHECK (((decision IS NULL) = (decided_at_ms IS NULL))),
    CONSTRAINT contacts_decision_check CHECK ((decision = ANY (ARRAY['allowed'::text, 'blocked'::text])))
);


--
-- Name: devices; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.devices (
    device_id text NOT NULL COLLATE pg_catalog."C",
    user_id uuid NOT NULL,
    pubkey bytea,
    name text,
    created_at_ms bigint NOT NULL,
    signature bytea,
    registered_at_ms bigint NOT NULL,
    last_seen_at_ms bigint,
    removed_at_ms bigint,
    auth_time_ms bigint DEFAULT 0 NOT NULL
);


--
-- Name: encryption_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.encryption_keys (
    user_id uuid NOT NULL,
    encryption_key bytea NOT NULL,
    created_at_ms bigint,
    signature bytea
);


--
-- Name: identities; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.identities (
    fingerprint bytea NOT NULL,
    user_id uuid NOT NULL,
    genesis_key bytea NOT NULL,
    active_key bytea NOT NULL,
    created_at_ms bigint NOT NULL
);


--
-- Name: identity_blobs; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.identity_blobs (
    user_id uuid NOT NULL,
    content bytea NOT NULL,
    content_hash bytea NOT NULL
);


--
-- Name: kept_blobs; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.kept_blobs (
    user_id uuid NOT NULL,
    content bytea NOT NULL,
    content_hash bytea NOT NULL
);


--
-- Name: kept_devices; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.kept_devices (
    user_id uuid NOT NULL,
    device_id text NOT NULL COLLATE pg_catalog."C",
    pubkey bytea,
    name text,
    created_at_ms bigint NOT NULL,
    signature bytea,
    registered_at_ms bigint NOT NULL,
    last_seen_at_ms bigint
);


--
-- Name: kept_encryption_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.kept_encryption_keys (
    user_id uuid NOT NULL,
    encryption_key bytea NOT NULL,
    created_at_ms bigint,
    signature bytea
);


--
-- Name: known_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.known_keys (
    public_key bytea NOT NULL,
    kind text NOT NULL,
    user_id uuid NOT NULL,
    first_seen_at_ms bigint NOT NULL,
    CONSTRAINT known_keys_kind_check CHECK ((kind = ANY (ARRAY['identity'::text, 'device'::text])))
);


--
-- Name: mailboxes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.mailboxes (
    user_id uuid NOT NULL,
    last_seq bigint DEFAULT 0 NOT NULL,
    undelivered bigint DEFAULT 0 NOT NULL
)
WITH (fillfactor='50');


--
-- Name: messages; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.messages (
    message_id uuid NOT NULL,
    sender_id uuid NOT NULL,
    sender_device_id text NOT NULL COLLATE pg_catalog."C",
    request_id text NOT NULL COLLATE pg_catalog."C",
    sender_seq bigint NOT NULL,
    recipient_id uuid NOT NULL,
    recipient_seq bigint NOT NULL,
    encrypted_content bytea NOT NULL,
    created_at_ms bigint NOT NULL,
    delivered_at_ms bigint,
    read_at_ms bigint,
    delivered_masked boolean DEFAULT false NOT NULL,
    read_masked boolean DEFAULT false NOT NULL
);
ALTER TABLE ONLY public.messages ALTER COLUMN encrypted_content SET STORAGE EXTERNAL;


--
-- Name: newest_time; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.newest_time (
    id smallint NOT NULL,
    at_ms bigint NOT NULL,
    CONSTRAINT newest_time_id_check CHECK ((id = 1))
);


--
-- Name: notices; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.notices (
    device_id text NOT NULL COLLATE pg_catalog."C",
    notice_id uuid NOT NULL,
    kind text NOT NULL,
    body text NOT NULL,
    created_at_ms bigint NOT NULL,
    subject text NOT NULL,
    of_chain boolean NOT NULL,
    CONSTRAINT notices_kind_check CHECK ((kind = ANY (ARRAY['alert'::text, 'contact_request'::text, 'room_invite'::text])))
);


--
-- Name: recovery_codes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.recovery_codes (
    user_id uuid NOT NULL,
    code_hash bytea NOT NULL
);


--
-- Name: refresh_families; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.refresh_families (
    family_id uuid NOT NULL,
    user_id uuid NOT NULL,
    device_id text COLLATE pg_catalog."C",
    created_at_ms bigint NOT NULL,
    auth_time_ms bigint NOT NULL,
    expires_at_ms bigint NOT NULL,
    revoked_at_ms bigint
);


--
-- Name: refresh_tokens; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.refresh_tokens (
    token_hash bytea NOT NULL,
    family_id uuid NOT NULL,
    used_at_ms bigint,
    successor_hash bytea,
    CONSTRAINT refresh_tokens_check CHECK (((used_at_ms IS NULL) = (successor_hash IS NULL)))
);


--
-- Name: revocation_counter; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.revocation_counter (
    last bigint NOT NULL
);


--
-- Name: revocations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.revocations (
    number bigint NOT NULL,
    kind text NOT NULL,
    user_id uuid NOT NULL,
    family_id uuid,
    device_id text COLLATE pg_catalog."C",
    at_ms bigint NOT NULL,
    until_ms bigint,
    CONSTRAINT revocations_check CHECK (((kind = 'family'::text) = (family_id IS NOT NULL))),
    CONSTRAINT revocations_check1 CHECK (((kind = 'device_removed'::text) = (device_id IS NOT NULL))),
    CONSTRAINT revocations_kind_check CHECK ((kind = ANY (ARRAY['family'::text, 'key_changed'::text, 'device_removed'::text, 'account_disabled'::text, 'account_deleted'::text, 'signed_out'::text, 'trimmed'::text]))),
    CONSTRAINT revocations_until_check CHECK (((kind = 'trimmed'::text) = (until_ms IS NOT NULL)))
);


--
-- Name: room_members; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.room_members (
    room_id uuid NOT NULL,
    user_id uuid NOT NULL,
    added_at_ms bigint NOT NULL,
    standing text DEFAULT 'invited'::text NOT NULL,
    CONSTRAINT room_members_standing_check CHECK ((standing = ANY (ARRAY['invited'::text, 'ignored'::text, 'joined'::text, 'removed'::text])))
);


--
-- Name: room_refusals; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.room_refusals (
    user_id uuid NOT NULL,
    owner_id uuid NOT NULL,
    room_id uuid NOT NULL,
    refused_at_ms bigint NOT NULL
);


--
-- Name: room_states; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.room_states (
    room_id uuid NOT NULL,
    revision bigint NOT NULL,
    state text NOT NULL
);


--
-- Name: rooms; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.rooms (
    room_id uuid NOT NULL,
    name text COLLATE pg_catalog."C",
    owner_id uuid NOT NULL,
    visibility text NOT NULL,
    state_writers text NOT NULL,
    created_at_ms bigint NOT NULL,
    first_seq bigint DEFAULT 1 NOT NULL,
    last_seq bigint DEFAULT 0 NOT NULL,
    last_at_ms bigint DEFAULT 0 NOT NULL,
    CONSTRAINT rooms_state_writers_check CHECK ((state_writers = ANY (ARRAY['owner'::text, 'members'::text]))),
    CONSTRAINT rooms_visibility_check CHECK ((visibility = ANY (ARRAY['public'::text, 'private'::text])))
)
WITH (fillfactor='70');


--
-- Name: second_factor_failures; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.second_factor_failures (
    failure_id uuid NOT NULL,
    user_id uuid NOT NULL,
    failed_at_ms bigint NOT NULL
);


--
-- Name: sightings; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.sightings (
    user_id uuid NOT NULL,
    at_ms bigint
);


--
-- Name: standing_counter; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.standing_counter (
    last bigint NOT NULL
);


--
-- Name: standings; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.standings (
    number bigint NOT NULL,
    user_id uuid NOT NULL,
    peer_id uuid NOT NULL,
    at_ms bigint NOT NULL
);


--
-- Name: told_rotation_ends; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.told_rotation_ends (
    user_id uuid NOT NULL,
    sequence bigint NOT NULL
);


--
-- Name: totp; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.totp (
    user_id uuid NOT NULL,
    sealed_secret bytea NOT NULL,
    confirmed_at_ms bigint,
    last_step bigint DEFAULT '-1'::integer NOT NULL,
    confirmed_by uuid,
    last_recovery_hash bytea,
    last_recovery_at_ms bigint
);


--
-- Name: used_challenges; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.used_challenges (
    challenge bytea NOT NULL,
    expires_at_ms bigint NOT NULL
);


--
-- Name: users; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.users (
    user_id uuid NOT NULL,
    email text,
    password_hash text,
    created_at_ms bigint NOT NULL,
    disabled_at_ms bigint,
    deleted_at_ms bigint,
    CONSTRAINT users_check CHECK (((email IS NULL) = (password_hash IS NULL)))
);


--
-- Name: write_probe; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.write_probe (
    id smallint NOT NULL,
    content bytea NOT NULL,
    CONSTRAINT write_probe_id_check CHECK ((id = 1))
);


--
-- Data for Name: _sqlx_migrations; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public._sqlx_migrations VALUES (1, 'accounts devices tokens', '2026-12-01 16:08:48.757032+00', true, '\x8fdb3e200b1de9e20df0e26810ed74c06ee1ec5e78b1b0978ffca746f878e867565cb59b8320652b3180105c6a4aca16', 89030224);
INSERT INTO public._sqlx_migrations VALUES (2, 'revocations', '2026-12-01 16:08:48.846599+00', true, '\x0a5eb678deaca76bd91387c30e4b50fdf55b094ffa3317579191547bb86a5a8420f21aef0e8fafc91b10a06e5158b53e', 6465068);
INSERT INTO public._sqlx_migrations VALUES (3, 'contacts notices', '2026-12-01 16:08:48.853312+00', true, '\xf55635be7050bf188c6fec89bea92b1468e80391cb5070816fc476138ed26535dc773e58b552df0b01c1e7f63f6a9f77', 24094439);
INSERT INTO public._sqlx_migrations VALUES (4, 'totp', '2026-12-01 16:08:48.877765+00', true, '\xbc704d885ce5bdbede50e00aaf13af090a7cc7598c4829766fef0ebcb45bec0b8c1ef4fb75d2ca7ba3938449a0827abd', 28143828);
INSERT INTO public._sqlx_migrations VALUES (5, 'identity', '2026-12-01 16:08:48.906191+00', true, '\xd5cb746179fefbd7c140ab10e5dd89b10fd4b0d4cdfd9af1fd4907a06fdc25ac8e6cc8a71d65ba9478b75b00b859b33c', 47259625);
INSERT INTO public._sqlx_migrations VALUES (6, 'rooms', '2026-12-01 16:08:48.953877+00', true, '\x9fee9ea826cb9495da53c8a06750ffa52e56e9b909578ba65fbef758a66db6e77b7c472503eba3bedb30067301e8296f', 48022219);
INSERT INTO public._sqlx_migrations VALUES (7, 'messages', '2026-12-01 16:08:49.002204+00', true, '\xc9239b521aaa0f74c4f62ef8b99163ae1ca6bdbd373e5e669ede87cc58afbee76078104ccbf18c5342be05cecc15ae96', 22934158);
INSERT INTO public._sqlx_migrations VALUES (9, 'presence', '2026-12-01 16:08:49.029006+00', true, '\x6e6144f93e85471bfa543bbe0a19ecf1851eadf9c544e7d271b1987dbef0b1435145e444c213f3f9d64ed796619416a4', 8091036);
INSERT INTO public._sqlx_migrations VALUES (10, 'signed out', '2026-12-01 16:08:49.037295+00', true, '\x6c1b094fb78928d0c33665148cc7070e0bd195aba81dd6609846941efd742202562b7fe6bcaa23d61cdccbc67f246c2b', 3513176);
INSERT INTO public._sqlx_migrations VALUES (11, 'rotation ends', '2026-12-01 16:08:49.040986+00', true, '\x057724941108289507b06af9b20f481a601ba527883a9883a486362208d62033330a31ed0608dcfe9c3b6e996d7a539e', 13917534);
INSERT INTO public._sqlx_migrations VALUES (12, 'account changes', '2026-12-01 16:08:49.055164+00', true, '\xa8c00f42d2d0526c9ba9711984a911763466bda28be701625799e19de5c6ee99b5b94be2a44709c05fa4ceda34b53058', 7137387);
INSERT INTO public._sqlx_migrations VALUES (13, 'login times', '2026-12-01 16:08:49.062522+00', true, '\xb90b315088a7186df24f7a2d0e05f435194a899b231cb2c62c981fb5a51b42f040beff2cee505306aa8d5619e5a2a884', 6434672);
INSERT INTO public._sqlx_migrations VALUES (14, 'repeated codes', '2026-12-01 16:08:49.069124+00', true, '\xcda0a36c6a61d2df09a4e83c83aefb4c4b8f6b2d1018317864e59573ae98b04ff3082c35a0fd71b680d74970ec2c48fa', 465683);
INSERT INTO public._sqlx_migrations VALUES (15, 'room invitations', '2026-12-01 16:08:49.069717+00', true, '\x022bb8ac938e4f53e3efd9c907ac287c9b1c6107a399d0d37578bca878cb1085c1b820a72124050ce27873d9d0108563', 13439072);
INSERT INTO public._sqlx_migrations VALUES (16, 'notice quotas', '2026-12-01 16:08:49.083349+00', true, '\x386bfc5de5ff206cb7f96a2688f57263cf245190d822ea79c00f314a3e1d7e7fbc727451d06d3a57c50ac1d8d5769012', 5611788);
INSERT INTO public._sqlx_migrations VALUES (19, 'newest time write probe', '2026-12-01 16:08:49.089126+00', true, '\x43a3ac48ed853df4ba4aae3e3d0535629aed04acba2b9277d9760673a19585450f3202dbc10befa13c30c939fd136e38', 20188703);
INSERT INTO public._sqlx_migrations VALUES (24, 'contact requests', '2026-12-01 16:08:49.10957+00', true, '\xf78617b86662256567a00bc6a7ccc9da93dd65d0f4273fb36d3aa43d53c3657bbcf732b59023c16f1ab911fed4741475', 16106701);


--
-- Data for Name: account_changes; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.account_changes VALUES ('01a2325d-ad7f-7624-9f08-b0c91eb3869b', 1);
INSERT INTO public.account_changes VALUES ('01a2325d-b285-7532-91f6-3887b8c1ba56', 2);
INSERT INTO public.account_changes VALUES ('01a2325d-b595-72a8-adde-72310857d0ae', 5);


--
-- Data for Name: chain_statements; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.chain_statements VALUES ('01a2325d-b285-7532-91f6-3887b8c1ba56', 1, 'rotation', '\xa20110f482f4b27b068657d6c132d23cc0afaaa5cfd27347a2c60a04a8281d9c', '\x8d64327f60c0228152dadde039ac022515a149d961e848cae8a81733fd693ab1', '\x0d0cee2df5d341abbb405946f7672a26e4a56848794f1f2f6a336c348c740fd2', NULL, 'a new phone', 1796141331324, '\x596a6ee996d91da4b0103d817182c463d69d10fc16a17afdae429ee15dcb466bc3d8d97e272575015721f70a12db60e20d628900a553e469966a7672d31f9c03', '\x1c7a31f6d661b1883431661b7583a7c070db9d0b027e5a9d1257e6ca58e6bed98ab187e204e310325efbf2b9626589dceb1d1a08624f058cae5ddebaffe9460e', 1796141331329);


--
-- Data for Name: chat_messages; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.chat_messages VALUES ('01a2325d-b1c5-7013-8db8-7809cc0a2e7f', 1, 'chat-3ba530211dc6', 'phone-50efc5faf2f2', '01a2325d-ad7f-7624-9f08-b0c91eb3869b', NULL, '\x7b22636f6e74656e74223a226f6e65227d', 1796141330854);
INSERT INTO public.chat_messages VALUES ('01a2325d-b1c5-7013-8db8-7809cc0a2e7f', 2, 'chat-3367b5112164', 'phone-50efc5faf2f2', '01a2325d-ad7f-7624-9f08-b0c91eb3869b', NULL, '\x7b22636f6e74656e74223a2274776f227d', 1796141330965);


--
-- Data for Name: contact_requests; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: contacts; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.contacts VALUES ('01a2325d-aeef-72cd-bbb2-3efc08a67e52', '01a2325d-ad7f-7624-9f08-b0c91eb3869b', 'allowed', 1796141330282, NULL, NULL, NULL, NULL, 1796141330282, NULL);
INSERT INTO public.contacts VALUES ('01a2325d-ad7f-7624-9f08-b0c91eb3869b', '01a2325d-aeef-72cd-bbb2-3efc08a67e52', 'allowed', 1796141330190, NULL, NULL, 1796141330629, NULL, 1796141330190, NULL);


--
-- Data for Name: devices; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.devices VALUES ('phone-50efc5faf2f2', '01a2325d-ad7f-7624-9f08-b0c91eb3869b', '\xbe371cd0f22e0eb54d1e2b8e016ebfb3339e8df28a96cf963afb19b9fd091ec2', NULL, 1796141330460, NULL, 1796141330460, 1796141333357, NULL, 1796141329789);


--
-- Data for Name: encryption_keys; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: identities; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.identities VALUES ('\xf0eaf798b35ea501c2c3890c064a7e5c571b86d3a78281717e0add27b3e07742', '01a2325d-b285-7532-91f6-3887b8c1ba56', '\x8d64327f60c0228152dadde039ac022515a149d961e848cae8a81733fd693ab1', '\x0d0cee2df5d341abbb405946f7672a26e4a56848794f1f2f6a336c348c740fd2', 1796141331000);


--
-- Data for Name: identity_blobs; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: kept_blobs; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: kept_devices; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: kept_encryption_keys; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: known_keys; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.known_keys VALUES ('\xbe371cd0f22e0eb54d1e2b8e016ebfb3339e8df28a96cf963afb19b9fd091ec2', 'device', '01a2325d-ad7f-7624-9f08-b0c91eb3869b', 1796141330460);
INSERT INTO public.known_keys VALUES ('\x8d64327f60c0228152dadde039ac022515a149d961e848cae8a81733fd693ab1', 'identity', '01a2325d-b285-7532-91f6-3887b8c1ba56', 1796141331000);
INSERT INTO public.known_keys VALUES ('\x0d0cee2df5d341abbb405946f7672a26e4a56848794f1f2f6a336c348c740fd2', 'identity', '01a2325d-b285-7532-91f6-3887b8c1ba56', 1796141331329);


--
-- Data for Name: mailboxes; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.mailboxes VALUES ('01a2325d-ad7f-7624-9f08-b0c91eb3869b', 3, 0);
INSERT INTO public.mailboxes VALUES ('01a2325d-aeef-72cd-bbb2-3efc08a67e52', 3, 3);
INSERT INTO public.mailboxes VALUES ('01a2325d-b285-7532-91f6-3887b8c1ba56', 0, 0);
INSERT INTO public.mailboxes VALUES ('01a2325d-b595-72a8-adde-72310857d0ae', 0, 0);


--
-- Data for Name: messages; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.messages VALUES ('01a2325d-b0c5-76d5-a194-392008ad7601', '01a2325d-ad7f-7624-9f08-b0c91eb3869b', 'phone-50efc5faf2f2', 'm-9c7c5f428a2b', 1, '01a2325d-aeef-72cd-bbb2-3efc08a67e52', 1, '\x6d6573736167652031', 1796141330629, NULL, NULL, false, false);
INSERT INTO public.messages VALUES ('01a2325d-b163-7fea-aca5-0e74d1d71439', '01a2325d-ad7f-7624-9f08-b0c91eb3869b', 'phone-50efc5faf2f2', 'm-5ef263f21fcc', 2, '01a2325d-aeef-72cd-bbb2-3efc08a67e52', 2, '\x6d6573736167652032', 1796141330787, NULL, NULL, false, false);
INSERT INTO public.messages VALUES ('01a2325d-b189-7645-8099-9612deaec170', '01a2325d-ad7f-7624-9f08-b0c91eb3869b', 'phone-50efc5faf2f2', 'm-839410c84d5b', 3, '01a2325d-aeef-72cd-bbb2-3efc08a67e52', 3, '\x6d6573736167652033', 1796141330825, NULL, NULL, false, false);


--
-- Data for Name: newest_time; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.newest_time VALUES (1, 1796141329300);


--
-- Data for Name: notices; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: recovery_codes; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.recovery_codes VALUES ('01a2325d-b595-72a8-adde-72310857d0ae', '\xd9657f654a2a3967b0f9672836c4fc0c9b059ffe8b5085f1eea32fd0b932c79f');
INSERT INTO public.recovery_codes VALUES ('01a2325d-b595-72a8-adde-72310857d0ae', '\xffb4bf01987f54064e13b082a40c6ba81abe60f393515f719a2d9c1dfd3c4616');
INSERT INTO public.recovery_codes VALUES ('01a2325d-b595-72a8-adde-72310857d0ae', '\x9add15933eba241db00ed7cf8c5feab68ea31baa88f2b74eae7435c849e0c9e5');
INSERT INTO public.recovery_codes VALUES ('01a2325d-b595-72a8-adde-72310857d0ae', '\xd64b20c787f00d7f198595d5d10d18bbb4a61a90b5429d7efbc3920de6a01907');
INSERT INTO public.recovery_codes VALUES ('01a2325d-b595-72a8-adde-72310857d0ae', '\x008d5f5490e4f15fa676ec860fc5278723d89703de398a2885e1ec73543ff9bf');
INSERT INTO public.recovery_codes VALUES ('01a2325d-b595-72a8-adde-72310857d0ae', '\x122132a1a1406e940c3655391e92633ad4f18c02f43bec564b5744cc7dfaecca');
INSERT INTO public.recovery_codes VALUES ('01a2325d-b595-72a8-adde-72310857d0ae', '\x17c275a16fb99e9bfc3d9fa875245626abecfe6ee2b6b504bc1df24b962da422');
INSERT INTO public.recovery_codes VALUES ('01a2325d-b595-72a8-adde-72310857d0ae', '\x44d706d25a2a98f66473b0ae2ccf538f3cc8eb8900ef224fa9f658be9ac48743');
INSERT INTO public.recovery_codes VALUES ('01a2325d-b595-72a8-adde-72310857d0ae', '\x74edd04226923396d739f14e26841854c896b5f54bb2b8627714315e7b90829c');
INSERT INTO public.recovery_codes VALUES ('01a2325d-b595-72a8-adde-72310857d0ae', '\x44dde2b256bf52127b4e09ff0822be66fcc5710b6117d83f0a76a14c0811a0f0');


--
-- Data for Name: refresh_families; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.refresh_families VALUES ('01a2325d-aef5-742c-be06-68cad20d9428', '01a2325d-aeef-72cd-bbb2-3efc08a67e52', NULL, 1796141330156, 1796141330156, 1798733330156, NULL);
INSERT INTO public.refresh_families VALUES ('01a2325d-adf1-70fe-897c-3ceb146b7b67', '01a2325d-ad7f-7624-9f08-b0c91eb3869b', NULL, 1796141329789, 1796141329789, 1798733329789, NULL);
INSERT INTO public.refresh_families VALUES ('01a2325d-b30e-7543-8d71-8bba57effd37', '01a2325d-b285-7532-91f6-3887b8c1ba56', NULL, 1796141331000, 1796141331000, 1798733331000, NULL);
INSERT INTO public.refresh_families VALUES ('01a2325d-b5cd-702b-aacb-dbdcb6904005', '01a2325d-b595-72a8-adde-72310857d0ae', NULL, 1796141331824, 1796141331824, 1798733331824, NULL);


--
-- Data for Name: refresh_tokens; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.refresh_tokens VALUES ('\x33b320d7c44b534876d5688c6a49df472caca31070ac8eef08795a14c2a07085', '01a2325d-adf1-70fe-897c-3ceb146b7b67', NULL, NULL);
INSERT INTO public.refresh_tokens VALUES ('\xa749ea8ac0e79766a1e4d7aef21993a6fbd090c90b7eab27b23264e5518816ba', '01a2325d-aef5-742c-be06-68cad20d9428', NULL, NULL);
INSERT INTO public.refresh_tokens VALUES ('\xb92c48229691d4e906cd73918b23d4c0df9b4e675c141621ac4ac20560a4c76c', '01a2325d-b30e-7543-8d71-8bba57effd37', NULL, NULL);
INSERT INTO public.refresh_tokens VALUES ('\xdb9fa868f16c2357859aed16134a183f01502662e6a4f1c7d1cf5015db236fc2', '01a2325d-b5cd-702b-aacb-dbdcb6904005', NULL, NULL);


--
-- Data for Name: revocation_counter; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.revocation_counter VALUES (5);


--
-- Data for Name: revocations; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.revocations VALUES (3, 'key_changed', '01a2325d-b285-7532-91f6-3887b8c1ba56', NULL, NULL, 1796141331329, NULL);


--
-- Data for Name: room_members; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.room_members VALUES ('01a2325d-b1c5-7013-8db8-7809cc0a2e7f', '01a2325d-ad7f-7624-9f08-b0c91eb3869b', 1796141330854, 'joined');


--
-- Data for Name: room_refusals; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: room_states; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.room_states VALUES ('01a2325d-b1c5-7013-8db8-7809cc0a2e7f', 1, '{"topic":"upgrades"}');


--
-- Data for Name: rooms; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.rooms VALUES ('01a2325d-b1c5-7013-8db8-7809cc0a2e7f', 'room-056b83d0491b', '01a2325d-ad7f-7624-9f08-b0c91eb3869b', 'public', 'owner', 1796141330854, 1, 2, 1796141330965);


--
-- Data for Name: second_factor_failures; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: sightings; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.sightings VALUES ('01a2325d-ad7f-7624-9f08-b0c91eb3869b', 1796141333357);


--
-- Data for Name: standing_counter; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.standing_counter VALUES (3);


--
-- Data for Name: standings; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.standings VALUES (1, '01a2325d-ad7f-7624-9f08-b0c91eb3869b', '01a2325d-aeef-72cd-bbb2-3efc08a67e52', 1796141330190);
INSERT INTO public.standings VALUES (2, '01a2325d-aeef-72cd-bbb2-3efc08a67e52', '01a2325d-ad7f-7624-9f08-b0c91eb3869b', 1796141330282);
INSERT INTO public.standings VALUES (3, '01a2325d-ad7f-7624-9f08-b0c91eb3869b', '01a2325d-aeef-72cd-bbb2-3efc08a67e52', 1796141330629);


--
-- Data for Name: told_rotation_ends; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: totp; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.totp VALUES ('01a2325d-b595-72a8-adde-72310857d0ae', '\x01ca680de6313300fdd7e9c2f35bae459652389ae64ea8e027378d9d2f6623b278aa21222411b029a6ac530656be48687bf2ffb0ba0859988c11debfaf713a6ce8acb90084', 1796141332596, 59871377, '01a2325d-b5cd-702b-aacb-dbdcb6904005', NULL, NULL);


--
-- Data for Name: used_challenges; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.used_challenges VALUES ('\xb4b3b734aa7e0beb2f6c01a2325e9c96f609eaee82246a6326eb058b9c537418', 1796141390998);


--
-- Data for Name: users; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.users VALUES ('01a2325d-aeef-72cd-bbb2-3efc08a67e52', 'somebody-288916912175@aldis.example', '$argon2id$v=19$m=19456,t=2,p=1$bs//OEXuRVkY/nOVwV7DMg$vlHcR95bWii0Pl2Oar2jzTGzOFOQwMNeVcF53MbU8JM', 1796141330156, NULL, NULL);
INSERT INTO public.users VALUES ('01a2325d-ad7f-7624-9f08-b0c91eb3869b', 'somebody-00d09ec05dbc@aldis.example', '$argon2id$v=19$m=19456,t=2,p=1$cgtR3DoVj5D+tuiJdrK5mQ$+yHEW91/C4ZvhI1bn+hRuJFQ0D3uA94Xs3LE0jSmXjU', 1796141329789, NULL, NULL);
INSERT INTO public.users VALUES ('01a2325d-b285-7532-91f6-3887b8c1ba56', NULL, NULL, 1796141331000, NULL, NULL);
INSERT INTO public.users VALUES ('01a2325d-b595-72a8-adde-72310857d0ae', 'somebody-6822a026a7cf@aldis.example', '$argon2id$v=19$m=19456,t=2,p=1$/gSE2WnnrhoXsd0ns3dp0A$VIRl8GuaaTharBZPpw6MLURWuGxYUW/Zk6HenBxchB0', 1796141331824, NULL, NULL);


--
-- Data for Name: write_probe; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Name: _sqlx_migrations _sqlx_migrations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public._sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);


--
-- Name: account_changes account_changes_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.account_changes
    ADD CONSTRAINT account_changes_pkey PRIMARY KEY (user_id);


--
-- Name: chain_statements chain_statements_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.chain_statements
    ADD CONSTRAINT chain_statements_pkey PRIMARY KEY (user_id, sequence);


--
-- Name: chat_messages chat_messages_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.chat_messages
    ADD CONSTRAINT chat_messages_pkey PRIMARY KEY (room_id, seq);


--
-- Name: contact_requests contact_requests_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.contact_requests
    ADD CONSTRAINT contact_requests_pkey PRIMARY KEY (user_id, typed);


--
-- Name: contacts contacts_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.contacts
    ADD CONSTRAINT contacts_pkey PRIMARY KEY (user_id, peer_id);


--
-- Name: devices devices_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.devices
    ADD CONSTRAINT devices_pkey PRIMARY KEY (device_id);


--
-- Name: encryption_keys encryption_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.encryption_keys
    ADD CONSTRAINT encryption_keys_pkey PRIMARY KEY (user_id);


--
-- Name: identities identities_active_key_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.identities
    ADD CONSTRAINT identities_active_key_key UNIQUE (active_key);


--
-- Name: identities identities_genesis_key_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.identities
    ADD CONSTRAINT identities_genesis_key_key UNIQUE (genesis_key);


--
-- Name: identities identities_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.identities
    ADD CONSTRAINT identities_pkey PRIMARY KEY (fingerprint);


--
-- Name: identities identities_user_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.identities
    ADD CONSTRAINT identities_user_id_key UNIQUE (user_id);


--
-- Name: identity_blobs identity_blobs_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.identity_blobs
    ADD CONSTRAINT identity_blobs_pkey PRIMARY KEY (user_id);


--
-- Name: kept_blobs kept_blobs_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.kept_blobs
    ADD CONSTRAINT kept_blobs_pkey PRIMARY KEY (user_id);


--
-- Name: kept_devices kept_devices_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.kept_devices
    ADD CONSTRAINT kept_devices_pkey PRIMARY KEY (user_id, device_id);


--
-- Name: kept_encryption_keys kept_encryption_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.kept_encryption_keys
    ADD CONSTRAINT kept_encryption_keys_pkey PRIMARY KEY (user_id);


--
-- Name: known_keys known_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.known_keys
    ADD CONSTRAINT known_keys_pkey PRIMARY KEY (public_key);


--
-- Name: mailboxes mailboxes_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.mailboxes
    ADD CONSTRAINT mailboxes_pkey PRIMARY KEY (user_id);


--
-- Name: messages messages_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (message_id);


--
-- Name: messages messages_sender_device_id_request_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_sender_device_id_request_id_key UNIQUE (sender_device_id, request_id);


--
-- Name: newest_time newest_time_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.newest_time
    ADD CONSTRAINT newest_time_pkey PRIMARY KEY (id);


--
-- Name: notices notices_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.notices
    ADD CONSTRAINT notices_pkey PRIMARY KEY (device_id, notice_id);


--
-- Name: recovery_codes recovery_codes_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.recovery_codes
    ADD CONSTRAINT recovery_codes_pkey PRIMARY KEY (user_id, code_hash);


--
-- Name: refresh_families refresh_families_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.refresh_families
    ADD CONSTRAINT refresh_families_pkey PRIMARY KEY (family_id);


--
-- Name: refresh_tokens refresh_tokens_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT refresh_tokens_pkey PRIMARY KEY (token_hash);


--
-- Name: revocations revocations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.revocations
    ADD CONSTRAINT revocations_pkey PRIMARY KEY (number);


--
-- Name: room_members room_members_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.room_members
    ADD CONSTRAINT room_members_pkey PRIMARY KEY (room_id, user_id);


--
-- Name: room_refusals room_refusals_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.room_refusals
    ADD CONSTRAINT room_refusals_pkey PRIMARY KEY (user_id, owner_id, room_id);


--
-- Name: room_states room_states_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.room_states
    ADD CONSTRAINT room_states_pkey PRIMARY KEY (room_id);


--
-- Name: rooms rooms_name_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.rooms
    ADD CONSTRAINT rooms_name_key UNIQUE (name);


--
-- Name: rooms rooms_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.rooms
    ADD CONSTRAINT rooms_pkey PRIMARY KEY (room_id);


--
-- Name: second_factor_failures second_factor_failures_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.second_factor_failures
    ADD CONSTRAINT second_factor_failures_pkey PRIMARY KEY (failure_id);


--
-- Name: sightings sightings_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sightings
    ADD CONSTRAINT sightings_pkey PRIMARY KEY (user_id);


--
-- Name: standings standings_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.standings
    ADD CONSTRAINT standings_pkey PRIMARY KEY (number);


--
-- Name: told_rotation_ends told_rotation_ends_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.told_rotation_ends
    ADD CONSTRAINT told_rotation_ends_pkey PRIMARY KEY (user_id, sequence);


--
-- Name: totp totp_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.totp
    ADD CONSTRAINT totp_pkey PRIMARY KEY (user_id);


--
-- Name: used_challenges used_challenges_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.used_challenges
    ADD CONSTRAINT used_challenges_pkey PRIMARY KEY (challenge);


--
-- Name: users users_email_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_email_key UNIQUE (email);


--
-- Name: users users_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (user_id);


--
-- Name: write_probe write_probe_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.write_probe
    ADD CONSTRAINT write_probe_pkey PRIMARY KEY (id);


--
-- Name: account_changes_by_number; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX account_changes_by_number ON public.account_changes USING btree (number);


--
-- Name: chat_messages_by_request; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX chat_messages_by_request ON public.chat_messages USING btree (room_id, sender_device_id, request_id) WHERE (request_id IS NOT NULL);


--
-- Name: contact_requests_by_age; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX contact_requests_by_age ON public.contact_requests USING btree (asked_at_ms);


--
-- Name: contact_requests_by_pair; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX contact_requests_by_pair ON public.contact_requests USING btree (user_id, peer_id);


--
-- Name: contacts_by_address_age; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX contacts_by_address_age ON public.contacts USING btree (asked_by_address_at_ms) WHERE (asked_by_address_at_ms IS NOT NULL);


--
-- Name: contacts_by_asked_age; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX contacts_by_asked_age ON public.contacts USING btree (asked_at_ms) WHERE (asked_at_ms IS NOT NULL);


--
-- Name: contacts_by_peer; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX contacts_by_peer ON public.contacts USING btree (peer_id);


--
-- Name: contacts_by_request_age; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX contacts_by_request_age ON public.contacts USING btree (was_asked_at_ms) WHERE (was_asked_at_ms IS NOT NULL);


--
-- Name: contacts_that_asked; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX contacts_that_asked ON public.contacts USING btree (user_id, was_asked_at_ms) WHERE (was_asked_at_ms IS NOT NULL);


--
-- Name: devices_by_pubkey; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX devices_by_pubkey ON public.devices USING btree (pubkey) WHERE (pubkey IS NOT NULL);


--
-- Name: devices_by_user; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX devices_by_user ON public.devices USING btree (user_id);


--
-- Name: messages_by_conversation; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX messages_by_conversation ON public.messages USING btree (sender_id, recipient_id, sender_seq, recipient_seq);


--
-- Name: messages_by_recipient; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX messages_by_recipient ON public.messages USING btree (recipient_id, recipient_seq);


--
-- Name: messages_by_sender; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX messages_by_sender ON public.messages USING btree (sender_id, sender_seq);


--
-- Name: messages_undelivered; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX messages_undelivered ON public.messages USING btree (recipient_id, recipient_seq, sender_id) WHERE (delivered_at_ms IS NULL);


--
-- Name: notices_by_age; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX notices_by_age ON public.notices USING btree (created_at_ms);


--
-- Name: refresh_families_by_device; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX refresh_families_by_device ON public.refresh_families USING btree (device_id) WHERE (device_id IS NOT NULL);


--
-- Name: refresh_families_by_expiry; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX refresh_families_by_expiry ON public.refresh_families USING btree (expires_at_ms);


--
-- Name: refresh_families_by_user; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX refresh_families_by_user ON public.refresh_families USING btree (user_id);


--
-- Name: refresh_tokens_by_family; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX refresh_tokens_by_family ON public.refresh_tokens USING btree (family_id);


--
-- Name: refresh_tokens_by_use; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX refresh_tokens_by_use ON public.refresh_tokens USING btree (used_at_ms) WHERE (used_at_ms IS NOT NULL);


--
-- Name: revocations_by_time; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX revocations_by_time ON public.revocations USING btree (at_ms);


--
-- Name: revocations_by_user; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX revocations_by_user ON public.revocations USING btree (user_id, number);


--
-- Name: room_members_by_user; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX room_members_by_user ON public.room_members USING btree (user_id);


--
-- Name: room_members_waiting; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX room_members_waiting ON public.room_members USING btree (room_id) WHERE (standing = ANY (ARRAY['invited'::text, 'ignored'::text]));


--
-- Name: room_refusals_by_age; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX room_refusals_by_age ON public.room_refusals USING btree (refused_at_ms);


--
-- Name: room_refusals_by_owner; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX room_refusals_by_owner ON public.room_refusals USING btree (owner_id);


--
-- Name: rooms_by_owner; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX rooms_by_owner ON public.rooms USING btree (owner_id);


--
-- Name: rooms_without_name; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX rooms_without_name ON public.rooms USING btree (room_id) WHERE (name IS NULL);


--
-- Name: rotations_by_acceptance; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX rotations_by_acceptance ON public.chain_statements USING btree (accepted_at_ms) WHERE (kind = 'rotation'::text);


--
-- Name: second_factor_failures_by_time; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX second_factor_failures_by_time ON public.second_factor_failures USING btree (failed_at_ms);


--
-- Name: second_factor_failures_by_user; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX second_factor_failures_by_user ON public.second_factor_failures USING btree (user_id, failed_at_ms);


--
-- Name: standings_by_time; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX standings_by_time ON public.standings USING btree (at_ms);


--
-- Name: used_challenges_by_expiry; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX used_challenges_by_expiry ON public.used_challenges USING btree (expires_at_ms);


--
-- Name: account_changes account_changes_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.account_changes
    ADD CONSTRAINT account_changes_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(user_id);


--
-- Name: chain_statements chain_statements_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.chain_statements
    ADD CONSTRAINT chain_statements_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.identities(user_id) ON DELETE CASCADE;


--
-- Name: devices devices_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.devices
    ADD CONSTRAINT devices_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(user_id);


--
-- Name: encryption_keys encryption_keys_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.encryption_keys
    ADD CONSTRAINT encryption_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(user_id);


--
-- Name: identities identities_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.identities
    ADD CONSTRAINT identities_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(user_id);


--
-- Name: identity_blobs identity_blobs_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.identity_blobs
    ADD CONSTRAINT identity_blobs_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.identities(user_id) ON DELETE CASCADE;


--
-- Name: kept_blobs kept_blobs_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.kept_blobs
    ADD CONSTRAINT kept_blobs_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.identities(user_id) ON DELETE CASCADE;


--
-- Name: kept_devices kept_devices_device_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.kept_devices
    ADD CONSTRAINT kept_devices_device_id_fkey FOREIGN KEY (device_id) REFERENCES public.devices(device_id);


--
-- Name: kept_devices kept_devices_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.kept_devices
    ADD CONSTRAINT kept_devices_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.identities(user_id) ON DELETE CASCADE;


--
-- Name: kept_encryption_keys kept_encryption_keys_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.kept_encryption_keys
    ADD CONSTRAINT kept_encryption_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.identities(user_id) ON DELETE CASCADE;


--
-- Name: known_keys known_keys_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.known_keys
    ADD CONSTRAINT known_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(user_id);


--
-- Name: mailboxes mailboxes_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.mailboxes
    ADD CONSTRAINT mailboxes_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(user_id);


--
-- Name: notices notices_device_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.notices
    ADD CONSTRAINT notices_device_id_fkey FOREIGN KEY (device_id) REFERENCES public.devices(device_id) ON DELETE CASCADE;


--
-- Name: recovery_codes recovery_codes_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.recovery_codes
    ADD CONSTRAINT recovery_codes_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.totp(user_id) ON DELETE CASCADE;


--
-- Name: refresh_families refresh_families_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.refresh_families
    ADD CONSTRAINT refresh_families_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(user_id);


--
-- Name: refresh_tokens refresh_tokens_family_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT refresh_tokens_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.refresh_families(family_id) ON DELETE CASCADE;


--
-- Name: room_members room_members_room_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.room_members
    ADD CONSTRAINT room_members_room_id_fkey FOREIGN KEY (room_id) REFERENCES public.rooms(room_id) ON DELETE CASCADE;


--
-- Name: room_members room_members_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.room_members
    ADD CONSTRAINT room_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(user_id);


--
-- Name: room_states room_states_room_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.room_states
    ADD CONSTRAINT room_states_room_id_fkey FOREIGN KEY (room_id) REFERENCES public.rooms(room_id) ON DELETE CASCADE;


--
-- Name: rooms rooms_owner_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.rooms
    ADD CONSTRAINT rooms_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES public.users(user_id);


--
-- Name: second_factor_failures second_factor_failures_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.second_factor_failures
    ADD CONSTRAINT second_factor_failures_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(user_id);


--
-- Name: told_rotation_ends told_rotation_ends_user_id_sequence_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.told_rotation_ends
    ADD CONSTRAINT told_rotation_ends_user_id_sequence_fkey FOREIGN KEY (user_id, sequence) REFERENCES public.chain_statements(user_id, sequence) ON DELETE CASCADE;


--
-- Name: totp totp_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.totp
    ADD CONSTRAINT totp_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(user_id);


--
-- PostgreSQL database dump complete
--


