-- name: prepare
DROP TABLE IF EXISTS pg_temp.dataflow_doubt;
CREATE TEMPORARY TABLE dataflow_doubt ({columns}) ON COMMIT DELETE ROWS;
CREATE OR REPLACE FUNCTION pg_temp.dataflow_try()
RETURNS TABLE (dataflow_at bigint, dataflow_why text, dataflow_detail text, dataflow_column text)
LANGUAGE plpgsql AS '{body}'

-- name: body
-- Each row is a savepoint. A cast does not say which column it was of, so those of a bad row are
-- tried again, one after the other: the one that fails is named.
#variable_conflict use_column
DECLARE
    dataflow_r record;
    dataflow_is_null boolean;
BEGIN
    FOR dataflow_r IN SELECT * FROM pg_temp.dataflow_doubt ORDER BY dataflow_row LOOP
        BEGIN
            {write}
        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            GET STACKED DIAGNOSTICS
                dataflow_why = MESSAGE_TEXT,
                dataflow_detail = PG_EXCEPTION_DETAIL,
                dataflow_column = COLUMN_NAME;
            dataflow_at := dataflow_r.dataflow_row;
            IF dataflow_column = '' THEN
                BEGIN
                    {casts}
                    dataflow_column := '';
                EXCEPTION WHEN data_exception THEN
                    NULL;
                END;
            END IF;
            RETURN NEXT;
        END;
    END LOOP;
    TRUNCATE pg_temp.dataflow_doubt;
END

-- name: insert
INSERT INTO {table} ({names}) VALUES ({values});

-- name: upsert
INSERT INTO {table} ({names}) VALUES ({values}) ON CONFLICT ({keys}) DO {update};

-- name: upsert_or_delete
IF dataflow_r.dataflow_deleted::boolean THEN
    DELETE FROM {table} t WHERE {same};
ELSE
    INSERT INTO {table} ({names}) VALUES ({values}) ON CONFLICT ({keys}) DO {update};
END IF;

-- name: try
SELECT * FROM pg_temp.dataflow_try()
