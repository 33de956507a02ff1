-- Least privilege: services write what is theirs and cannot change a posting; ops reads everything and writes nothing.
-- Roles belong to the whole cluster, so two databases may create them at the same moment.

do $$
declare
    name text;
begin
    foreach name in array array['gongji_service', 'gongji_ops'] loop
        begin
            execute format('create role %I nologin', name);
        exception when duplicate_object or unique_violation then
            null;
        end;
        begin
            if not pg_has_role(current_user, name, 'member') then
                execute format('grant %I to current_user', name);
            end if;
        exception when unique_violation then
            null;
        end;
    end loop;
end
$$;

do $$
declare
    schema_name text;
begin
    foreach schema_name in array array['runtime', 'intake', 'eligibility', 'adjudication', 'account', 'crossregion'] loop
        execute format('grant usage on schema %I to gongji_service, gongji_ops', schema_name);
        execute format('grant select, insert, update on all tables in schema %I to gongji_service', schema_name);
        execute format('grant usage on all sequences in schema %I to gongji_service', schema_name);
        execute format('grant select on all tables in schema %I to gongji_ops', schema_name);
        -- and what later migrations add
        execute format('alter default privileges in schema %I grant select, insert, update on tables to gongji_service', schema_name);
        execute format('alter default privileges in schema %I grant usage on sequences to gongji_service', schema_name);
        execute format('alter default privileges in schema %I grant select on tables to gongji_ops', schema_name);
    end loop;
end
$$;

revoke update on account.journal, account.posting from gongji_service;
revoke update on account.journal, account.posting from public;
