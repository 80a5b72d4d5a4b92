"""PostgreSQL: rows and decision in one transaction.

    recover   end older sessions of ours -> lock the decision's row -> claim it -> COMMIT
    write     BEGIN (once) -> SAVEPOINT -> COPY (-> merge) -> RELEASE
    commit    decision, if the stored one is the one before -> COMMIT

Nothing here is imported before a pipeline that uses it starts, but the spec.
"""
