/* SPDX-License-Identifier: Apache-2.0 */
/* A row of SQLite on a database in memory: inserts, updates, look-ups by an index, a report. */
#include "rows.h"

#if BENCH_SQLITE
#include <sqlite3.h>

#define ROWS_BEFORE 2000u
#define CUSTOMERS   100u

static void execute(sqlite3 *db, const char *sql)
{
    row_needs(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sql);
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    row_needs(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK, sql);
    return statement;
}

/* Runs the statement with these values; answers what its rows' columns add up to. */
static uint64_t step(sqlite3_stmt *statement, int64_t first, int64_t second)
{
    uint64_t sum = 0;
    sqlite3_bind_int64(statement, 1, first);
    if (sqlite3_bind_parameter_count(statement) > 1)
        sqlite3_bind_int64(statement, 2, second);
    int code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(statement); i++)
            sum = sum * 3 + (uint64_t)sqlite3_column_int64(statement, i);
    }
    row_needs(code == SQLITE_DONE && sqlite3_reset(statement) == SQLITE_OK, "a statement failed");
    return sum;
}

/* A round is one transaction of 8 orders, 8 look-ups and a change of price, then a report. */
static uint64_t run_sqlite(uint64_t rounds)
{
    sqlite3 *db = NULL;
    uint64_t state = 11, sum = 0;
    row_needs(sqlite3_open(":memory:", &db) == SQLITE_OK, "sqlite3_open");
    execute(db, "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, price INTEGER, "
                "note TEXT)");
    execute(db, "CREATE INDEX by_customer ON orders (customer, price)");
    sqlite3_stmt *insert = prepare(db, "INSERT INTO orders (customer, price, note) "
                                       "VALUES (?1, ?2, printf('order of %d at %d', ?1, ?2))");
    sqlite3_stmt *find = prepare(db, "SELECT price, length(note) FROM orders WHERE customer = ?1 "
                                     "AND price >= ?2 ORDER BY price LIMIT 5");
    sqlite3_stmt *change = prepare(db, "UPDATE orders SET price = price + 1 WHERE id = ?1");
    sqlite3_stmt *forget = prepare(db, "DELETE FROM orders WHERE id <= ?1");
    sqlite3_stmt *report = prepare(db, "SELECT count(*), sum(price), max(length(note)) FROM orders "
                                       "WHERE customer BETWEEN ?1 AND ?2 GROUP BY customer");
    execute(db, "BEGIN");
    for (unsigned i = 0; i < ROWS_BEFORE; i++)
        step(insert, (int64_t)(row_random(&state) % CUSTOMERS), (int64_t)(i % 977));
    execute(db, "COMMIT");
    row_begins();
    for (uint64_t r = 0; r < rounds; r++) {
        execute(db, "BEGIN");
        for (unsigned i = 0; i < 8; i++) {
            uint64_t x = row_random(&state) >> 20;
            step(insert, (int64_t)(x % CUSTOMERS), (int64_t)(x / CUSTOMERS % 1000));
            sum += step(find, (int64_t)(x / 7 % CUSTOMERS), (int64_t)(x % 900));
        }
        step(change, (int64_t)(r * 8 + ROWS_BEFORE / 2), 0);
        step(forget, (int64_t)(r * 8), 0);
        execute(db, "COMMIT");
        sum = sum * 31 + step(report, (int64_t)(r % CUSTOMERS), (int64_t)(r % CUSTOMERS + 3));
    }
    return sum;
}
#else
static uint64_t run_sqlite(uint64_t rounds)
{
    (void)rounds;
    row_is_missing("there was no libsqlite3.a (libsqlite3-dev) when this was built");
}
#endif

const struct row database_rows[] = {{"sqlite", "applications", run_sqlite, 20},
                                    {NULL, NULL, NULL, 0}};
