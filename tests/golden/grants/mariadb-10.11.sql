SET SESSION sql_log_bin = 0;
CREATE USER 'mmm_monitor'@'%' IDENTIFIED BY '<password of monitor>';
GRANT SLAVE MONITOR, BINLOG MONITOR ON *.* TO 'mmm_monitor'@'%';
CREATE USER 'mmm_agent'@'%' IDENTIFIED BY '<password of agent>';
GRANT READ_ONLY ADMIN, REPLICATION SLAVE ADMIN, SLAVE MONITOR, BINLOG MONITOR, CONNECTION ADMIN, PROCESS, REPLICATION MASTER ADMIN, SUPER, RELOAD ON *.* TO 'mmm_agent'@'%';
CREATE USER 'mmm_repl'@'%' IDENTIFIED BY '<password of replication>';
GRANT REPLICATION SLAVE ON *.* TO 'mmm_repl'@'%';
