-- The register: who is insured, which institutions there are, what was filed, linked, admitted and listed.
-- One row a feed record, under the identity of contract.md section 1: a later record with the same identity
-- replaces the row. Nothing here belongs to a claim, so there is no part. Money in fen, unit prices in
-- millionths of a yuan, ratios in parts per million.

create schema eligibility;

create table eligibility.member (
    member_id         text not null,
    region            text not null,
    status            text not null,
    employment        text not null,
    sector            text not null,
    valid_from        date not null,
    covered_to        date,
    paid_through      text,
    contribution_base bigint,
    supplements       text[] not null,
    qualifications    jsonb not null,
    constraint member_pk primary key (member_id, valid_from),
    constraint member_status_known check (status in ('active', 'retired')),
    constraint member_employment_known check (employment in ('employee', 'flexible_full', 'flexible_pooled_only')),
    constraint member_sector_known check (sector in ('enterprise', 'government')),
    constraint member_contribution_base_not_negative check (contribution_base >= 0)
);

create table eligibility.institution (
    institution_id      text not null,
    region              text not null,
    kind                text not null,
    level               text not null,
    designated_from     date not null,
    pooled_outpatient   boolean not null,
    networked           boolean not null,
    designated_to       date,
    host_institution_id text,
    constraint institution_pk primary key (institution_id, designated_from),
    constraint institution_kind_known check (
        kind in ('hospital', 'township', 'community', 'village', 'psychiatric', 'pharmacy', 'internet')
    ),
    constraint institution_level_known check (level in ('1', '2', '3', 'none'))
);

create table eligibility.family_link (
    holder_id       text not null,
    beneficiary_id  text not null,
    relation        text not null,
    authorized_from date not null,
    authorized_to   date,
    constraint family_link_pk primary key (holder_id, beneficiary_id, authorized_from),
    constraint family_link_relation_known check (relation in ('spouse', 'parent', 'child', 'spouse_parent'))
);

create table eligibility.remote_filing (
    member_id      text not null,
    care_region    text not null,
    kind           text not null,
    valid_from     date not null,
    valid_to       date,
    institution_id text,
    constraint remote_filing_pk primary key (member_id, care_region, valid_from),
    constraint remote_filing_kind_known check (kind in ('settled_retiree', 'posted', 'referral', 'temporary'))
);

create table eligibility.inpatient_stay (
    member_id      text not null,
    institution_id text not null,
    admitted_on    date not null,
    discharged_on  date,
    constraint inpatient_stay_pk primary key (member_id, institution_id, admitted_on)
);

create table eligibility.catalogue_item (
    region             text not null,
    code               text not null,
    name               text not null,
    category           text not null,
    pre_self_pay_ratio int not null,
    valid_from         date not null,
    valid_to           date,
    price_limit        bigint,
    constraint catalogue_item_pk primary key (region, code, valid_from),
    constraint catalogue_item_category_known check (category in ('甲', '乙', '丙')),
    constraint catalogue_item_ratio_is_a_share check (pre_self_pay_ratio between 0 and 1000000),
    constraint catalogue_item_price_limit_not_negative check (price_limit >= 0)
);
