# What a warm shell knows. POSIX sh; runs in dash and bash. Writes nothing to any disk: no heredocs, no files.
# Words announced on standard output stand on a line of their own behind the marker, which outputs cannot know.
exec 6>/dev/fd/4 7</dev/fd/5 4>&- 5>&- 2>&1
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin LC_ALL=C
export PATH LC_ALL
unset ENV MAIL CDPATH
IFS=' 	
'
m_nl='
'
m_tab='	'
m_sql='' m_seq=0 m_state=ok m_skip=0
umask 077
# A client that died must not take the shell along. A caught signal, unlike an ignored one, is as usual in children.
trap : PIPE

# The host's own clock in hundredths of a second: it cannot be set.
m_now() { read -r m_u m_x </proc/uptime; m_n=${m_u%.*}${m_u#*.}; }

# When nobody can hear it any more, nothing further is begun.
m_say() { printf '\n%s %s\n' "$m_mark" "$*" || exit 3; }

# Numbers of sessions are used again, so their leader's start and the system's own are told with it.
m_hello() {
  read -r m_l </proc/$$/stat
  m_s=$(set -- ${m_l##*) }; printf %s "$4") m_l=') '
  { read -r m_l <"/proc/$m_s/stat"; read -r m_b </proc/sys/kernel/random/boot_id; } 2>/dev/null
  m_now
  m_say hello "$m_s" "$(set -- ${m_l##*) }; printf %s "${20:-0}")" "$m_n" "${m_b-}"
}

# --- SQL: one client kept warm. Statements go out on 6, answers come back on 7.

m_open() {
  [ -z "$m_sql" ] || return 0
  m_client=$(command -v mariadb || command -v mysql) || { m_err='no mariadb or mysql client on this host'; return 1; }
  # MariaDB's newer clients refuse a server without TLS unless told; MySQL's do not know the word.
  case $m_client in *mariadb) m_tls=--skip-ssl-verify-server-cert ;; *) m_tls='' ;; esac
  exec 4<>/dev/fd/6 5<>/dev/fd/7
  # What an earlier client left unread must neither be performed nor be taken for an answer.
  printf '\n%s\n' "$m_mark" >&4
  printf '\n%s\n' "$m_mark" >&5
  while IFS= read -r m_l <&4 && [ "$m_l" != "$m_mark" ]; do :; done
  while IFS= read -r m_l <&5 && [ "$m_l" != "$m_mark" ]; do :; done
  printf '[client]\nuser="%s"\npassword="%s"\n' "$m_user" "$m_password" |
    HOME=/nonexistent "$m_client" --defaults-extra-file=/dev/fd/3 --batch --unbuffered --force --skip-reconnect \
      --no-auto-rehash --binary-mode --default-character-set=utf8mb4 ${m_socket:+"--socket=$m_socket"} \
      ${m_host:+"--host=$m_host" "--port=$m_port" --protocol=TCP --connect-timeout=3 $m_tls} \
      3<&0 0</dev/fd/4 >/dev/fd/5 2>&1 4>&- 5>&- 6>&- 7<&- &
  m_sql=$!
  exec 4>&- 5>&-
  # A lock marks the connection: a server that is started anew uses its number again.
  m_raw "SELECT CONNECTION_ID() AS id, GET_LOCK(CONCAT_WS(' ', 'mmm', '${MMM_SHELL-}', CONNECTION_ID()), 0) AS marked" || return 1
  m_say sql "${m_row%%"$m_tab"*}" "${m_row##*"$m_tab"}"
  [ -z "$m_session" ] || m_raw "$m_session"
}

# The client is of no use any more. Sets the error unless there is one, and fails.
m_drop() {
  m_err=${m_err:-$1}
  kill -9 "$m_sql" 2>/dev/null
  wait "$m_sql" 2>/dev/null
  m_sql=''
  return 1
}

# Sends one statement, then one that answers with a tag only we know, and reads up to it. The first line of an answer
# is an error, or the column names, which come from our own text: so no data can be taken for an error or a success.
# MariaDB's client shows a failed statement between dashes before its error; when that is our own question for the tag,
# the connection is lost.
m_raw() {
  m_seq=$((m_seq + 1)) m_t=$m_mark.$m_seq m_err='' m_head='' m_row='' m_count=-1 m_rows='' m_echo=''
  printf "%s\\n;\\nSELECT '%s' AS '%s';\\n" "$1" "$m_t" "$m_t" >&6 2>/dev/null || { m_drop 'the SQL client is gone'; return 1; }
  while IFS= read -r m_l <&7; do
    case $m_l in
      "$m_t") IFS= read -r m_l <&7; [ -z "$m_err" ]; return ;;
      "SELECT '$m_t' AS '$m_t'") m_drop 'the connection to the server is lost'; return 1 ;;
    esac
    if [ "$m_count" -lt 0 ]; then
      case $m_l in
        'ERROR '*)
          if [ -n "$m_err" ]; then m_drop; return 1; fi
          m_err=$m_l ;;
        --------------) m_echo=1 ;;
        *) [ -n "$m_echo$m_err" ] || m_head=$m_l m_count=0 ;;
      esac
      continue
    fi
    # A client that does not show failed statements can only be believed; at worst a good one is opened anew.
    case $m_l in 'ERROR 20'[0-9][0-9]' '*) m_drop "$m_l"; return 1 ;; esac
    m_count=$((m_count + 1))
    [ "$m_count" -gt 1 ] || m_row=$m_l
    [ -z "$m_keep" ] || m_rows=$m_rows${m_l%%"$m_tab"*}$m_nl
  done
  m_drop 'the SQL client ended'
}

m_keep=''
m_ask() { m_err=''; m_open && m_raw "$1"; }
# As m_ask, where one of these errors says that there is nothing.
m_ask_any() { m_ask "$1" || { [ -n "$m_sql" ] && m_tolerated "$m_err" "$2"; }; }

# The number of an error line: `ERROR 1094 (HY000) …`.
m_code() { m_c=${1#ERROR }; m_c=${m_c%% *}; }

m_tolerated() { m_code "$1"; case " $2 " in *" $m_c "*) return 0 ;; esac; return 1; }

# Performs the collected rows as statements, some at a time so that neither pipe fills up. MariaDB tries for two
# seconds to wake a session that holds a busy mutex, so after a slow part each statement goes alone, and none is begun
# that could not end in time.
m_each() {
  m_most=10 m_first=1
  while [ -n "$m_rows" ]; do
    m_now
    m_began=$m_n
    if [ -z "$m_first" ] && [ $((m_n + 200)) -gt "$m_until" ]; then m_err='there was no time for all of them'; return 1; fi
    m_part='' m_k=0 m_first=''
    while [ -n "$m_rows" ] && [ "$m_k" -lt "$m_most" ]; do
      m_part=$m_part${m_rows%%"$m_nl"*}\;$m_nl m_rows=${m_rows#*"$m_nl"} m_k=$((m_k + 1))
    done
    m_seq=$((m_seq + 1)) m_t=$m_mark.$m_seq m_err=''
    printf "%sSELECT '%s' AS '%s';\\n" "$m_part" "$m_t" "$m_t" >&6 2>/dev/null || { m_drop 'the SQL client is gone'; return 1; }
    while :; do
      IFS= read -r m_l <&7 || { m_drop 'the SQL client ended'; return 1; }
      case $m_l in
        "$m_t") IFS= read -r m_l <&7; break ;;
        'ERROR 20'[0-9][0-9]' '*) m_drop "$m_l"; return 1 ;;
        'ERROR '*) m_tolerated "$m_l" "$1" || m_err=${m_err:-$m_l} ;;
      esac
    done
    [ -z "$m_err" ] || return 1
    m_now
    if [ $((m_n - m_began)) -gt 50 ]; then m_most=1; fi
  done
}

# Finds a column of the only row by its name.
m_col() {
  m_h=$m_head$m_tab m_r=$m_row$m_tab
  [ "$m_count" = 1 ] && while [ -n "$m_h" ]; do
    m_v=${m_r%%"$m_tab"*}
    [ "${m_h%%"$m_tab"*}" != "$1" ] || return 0
    m_h=${m_h#*"$m_tab"} m_r=${m_r#*"$m_tab"}
  done
  m_v=''
  return 1
}

m_has() { m_col "$1" && [ "$m_v" = "$2" ]; }
m_same() { m_col "$1" && { m_w=$m_v; m_has "$2" "$m_w"; }; }
m_is() { [ "$m_count" = 1 ] && [ "${m_row%%"$m_tab"*}" = "$1" ]; }
# No row, or one that is empty: a position before the first transaction.
m_none() { [ "$m_count" -le 0 ] || m_is ''; }
# The status of a connection that receives nothing is a row all the same, whose first column, the state of its thread, is empty.
m_rowless() { [ "$m_count" -le 0 ]; }

# --- Shell commands: in a subshell, so that nothing of them stays; without our descriptors, so that a command that
# outlives us does not keep the SQL client alive; without standard input, or it would swallow what we are told next.

m_test() { m_err=''; (eval "$1") </dev/null >/dev/null 2>&1 6>&- 7<&-; }
m_get() { m_err=''; { m_val=$( (eval "$1") </dev/null 2>&8 6>&- 7<&-); m_rc=$?; } 8>&1; }
m_answers() { [ "$m_val" = "$1" ]; }

# --- Steps.

m_duty() { m_id=$1 m_limit=$2 m_state=ok m_skip=0; m_say duty "$m_id"; }
m_done() { m_now; m_say "done" "$m_id" "$m_n"; }

# Not after the expiry, however long the words were on the way.
m_fresh() {
  m_now
  [ "$m_n" -gt "$m_limit" ] || return 0
  m_state=expired
  m_say expired "$m_i"
  return 1
}

m_begin() {
  [ "$m_state" = ok ] || return 1
  if [ "$m_skip" -gt 0 ]; then m_skip=$((m_skip - 1)); m_say skip "$1"; return 1; fi
  m_i=$1 m_err='' m_row='' m_try=0
  m_fresh || return 1
  m_until=$((m_n + $2))
  m_say begin "$1"
}

m_end() { m_say end "$m_i" "$1"; }

m_fail() { m_state=failed; m_say end "$m_i" failed "$@"; return 1; }

m_unexpected() {
  if [ -n "$m_err" ]; then m_fail sql "$m_err"; else m_fail answer "$1"; fi
}

# Before doing it again. A look that failed says more than that it is late.
m_pause() {
  m_now
  if [ "$m_n" -ge "$m_until" ]; then
    # Where the last answer is words, they say what was waited for.
    case $m_err$m_row in *' '*) m_fail late "${m_err:-: $m_row}" ;; *) m_fail late "$m_err" ;; esac
    return 1
  fi
  # Most of what is waited for comes within milliseconds, and clients are waiting too.
  m_try=$((m_try + 1))
  if [ "$m_try" -le 20 ]; then sleep 0.001; else sleep 0.01; fi
}

m_run() {
  m_fresh || return 1
  (eval "$1") </dev/null 2>&1 6>&- 7<&-
  m_rc=$?
  m_status "$2"
}
m_take() { m_fresh || return 1; m_get "$1"; m_status "$2"; }
m_status() { case " 0 $1 " in *" $m_rc "*) return 0 ;; esac; m_fail status "$m_rc"; }
m_start() { m_fresh || return 1; (eval "$1") </dev/null >/dev/null 2>&1 6>&- 7<&- & }
m_tell() {
  m_open || { m_fail sql "$m_err"; return 1; }
  m_fresh || return 1
  m_raw "$1" || m_tolerated "$m_err" "$2" || { m_fail sql "$m_err"; return 1; }
}
m_rows() {
  m_open || { m_fail sql "$m_err"; return 1; }
  m_keep=1
  m_raw "$1" || { m_keep=''; m_fail sql "$m_err"; return 1; }
  m_keep=''
  m_fresh || return 1
  m_each "$2" || { m_fail sql "$m_err"; return 1; }
}

# Values, with their length in bytes, because they may have any form.
m_value() { m_say value "$1" "$2" "${#3}"; printf '%s' "$3"; }
m_reg_col() { if m_col "$2"; then m_value "$1" sql "$m_v"; else m_fail answer "no single row with the column $2"; fi; }
m_reg_sql() { m_value "$1" sql "${m_row%%"$m_tab"*}"; }
