"""The completion scripts of each shell, with the places where an app's words go."""

__all__ = ["BASH", "FILES", "FISH", "FISH_LINE", "FISH_VERB", "OFFERS", "ZSH"]

BASH = """\
# {program} completion; put this into a file that your shell reads:
#   {program} completion bash > ~/.local/share/bash-completion/completions/{program}
_{function}() {{
  local word previous flags
  word="${{COMP_WORDS[COMP_CWORD]}}"
  previous="${{COMP_WORDS[COMP_CWORD-1]}}"
  if [ "$word" = "=" ]; then word=""; fi
  if [ "$previous" = "=" ]; then previous="${{COMP_WORDS[COMP_CWORD-2]}}"; fi
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{verbs} --help --version" -- "$word"))
    return
  fi
  case "$previous" in
{values}
  esac
  case "${{COMP_WORDS[1]}}" in
{flags}
  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$word")) ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}}
complete -o filenames -F _{function} {program}
"""

ZSH = """\
#compdef {program}
# {program} completion; put this into a file named _{program} on your $fpath.
_{function}() {{
  local flags word="${{words[CURRENT]}}" previous="${{words[CURRENT-1]}}"
  if (( CURRENT == 2 )); then
    compadd -- {verbs} --help --version
    return
  fi
  if [[ "$word" == --*=* ]]; then
    previous="${{word%%=*}}"
    compset -P '*='
  fi
  case "$previous" in
{values}
  esac
  case "${{words[2]}}" in
{flags}
  esac
  if [[ "$word" == --*=* ]] || [[ "$word" != -* ]]; then _files; else compadd -- ${{=flags}}; fi
}}
# Found on $fpath, this file is the body of a function and completes at once.
if [ "${{funcstack[1]}}" = "_{program}" ]; then _{function}; else compdef _{function} {program}; fi
"""

FISH = """\
# {program} completion; put this into ~/.config/fish/completions/{program}.fish
complete -c {program} -n __fish_use_subcommand -f -a '{verbs}'
complete -c {program} -n __fish_use_subcommand -l help
complete -c {program} -n __fish_use_subcommand -l version
{lines}
"""

FISH_VERB = "complete -c {program} -n __fish_use_subcommand -f -a {verb} -d '{summary}'"
FISH_LINE = "complete -c {program} -n '__fish_seen_subcommand_from {verbs}' {what}"

OFFERS = {
    "bash": '    {pattern}) COMPREPLY=($(compgen -W "{words}" -- "$word"){files}); return ;;',
    "zsh": "    {pattern}) compadd -- {words}{files}; return ;;",
}
FILES = {"bash": ' $(compgen -f -- "$word")', "zsh": "; _files"}
