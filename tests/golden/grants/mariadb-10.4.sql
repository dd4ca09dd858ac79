SET SESSION sql_log_bin = 0;
CREATE USER 'mmm_monitor'@'%' IDENTIFIED BY '<password of monitor>';
GRANT REPLICATION CLIENT ON *.* TO 'mmm_monitor'@'%';
CREATE USER 'mmm_agent'@'%' IDENTIFIED BY '<password of agent>';
GRANT SUPER, REPLICATION CLIENT, PROCESS, RELOAD ON *.* TO 'mmm_agent'@'%';
CREATE USER 'mmm_repl'@'%' IDENTIFIED BY '<password of replication>';
GRANT REPLICATION SLAVE ON *.* TO 'mmm_repl'@'%';
