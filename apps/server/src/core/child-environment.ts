/**
 * Whether a variable may not be set for a child from the configuration: it makes programs load
 * other code, or another library, than what was asked for; or it is no name of a variable at all.
 */
export function refusedVariable(name: string): boolean {
  // npm reads its own in any case, and no program gives these names another meaning in lower case.
  const upper = name.toUpperCase();
  return (
    name === '' ||
    /[=\0]/.test(name) ||
    refused.has(upper) ||
    refusedPrefixes.some((prefix) => upper.startsWith(prefix))
  );
}

const refused: ReadonlySet<string> = new Set([
  // Node and its kin
  'NODE_OPTIONS',
  'NODE_PATH',
  'NODE_REPL_EXTERNAL_MODULE',
  'NODE_COMPILE_CACHE',
  'NODE_CHANNEL_FD',
  'BUN_OPTIONS',
  'ELECTRON_RUN_AS_NODE',
  // shells
  'BASH_ENV',
  'BASHOPTS',
  'ENV',
  'IFS',
  'PROMPT_COMMAND',
  'PS4',
  'SHELLOPTS',
  'ZDOTDIR',
  // the C library and OpenSSL
  'GCONV_PATH',
  'GETCONF_DIR',
  'GLIBC_TUNABLES',
  'LOCPATH',
  'NLSPATH',
  'OPENSSL_CONF',
  'OPENSSL_ENGINES',
  'OPENSSL_MODULES',
  'SSLKEYLOGFILE',
  // other languages
  'CLASSPATH',
  'DOTNET_STARTUP_HOOKS',
  'JAVA_TOOL_OPTIONS',
  'JDK_JAVA_OPTIONS',
  '_JAVA_OPTIONS',
  'PERL5DB',
  'PERL5LIB',
  'PERL5OPT',
  'PERLLIB',
  'PHPRC',
  'PHP_INI_SCAN_DIR',
  'PYTHONBREAKPOINT',
  'PYTHONHOME',
  'PYTHONINSPECT',
  'PYTHONPATH',
  'PYTHONSTARTUP',
  'PYTHONUSERBASE',
  'RUBYLIB',
  'RUBYOPT',
]);

const refusedPrefixes = [
  'LD_',
  'DYLD_',
  'BASH_FUNC_',
  'CORECLR_',
  'COR_PROFILER',
  'LUA_INIT',
  'LUA_PATH',
  'LUA_CPATH',
  'NPM_CONFIG_',
];
