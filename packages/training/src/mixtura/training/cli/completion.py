"""Shell completion by hand: verbs, packaged names, the flags everybody uses, and files.

The generated completion of the argument parser lists every known subclass of every annotated type
(hundreds of megabytes); this one is a few kilobytes and is enough.
"""

from mixtura.training.cli import names
from mixtura.training.cli.app import App

__all__ = ["SHELLS", "script"]

SHELLS = ("bash", "zsh")

FLAGS = (
    "--config",
    "--ckpt_path",
    "--print_config",
    "--help",
    "--traceback",
    "--seed_everything",
    "--model",
    "--data",
    "--trainer.max_epochs",
    "--trainer.max_steps",
    "--trainer.accelerator",
    "--trainer.devices",
    "--trainer.default_root_dir",
    "--trainer.fast_dev_run",
)

BASH = """\
# {program} completion; put this into a file that your shell reads:
#   {program} completion bash > ~/.local/share/bash-completion/completions/{program}
_{function}() {{
  local word previous
  word="${{COMP_WORDS[COMP_CWORD]}}"
  previous="${{COMP_WORDS[COMP_CWORD-1]}}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{verbs} --help --version" -- "$word"))
    return
  fi
  case "$previous" in
    --config|-c|show) COMPREPLY=($(compgen -W "{configs}" -- "$word") $(compgen -f -- "$word")) ;;
    benchmark) COMPREPLY=($(compgen -W "{recipes}" -- "$word") $(compgen -f -- "$word")) ;;
    completion) COMPREPLY=($(compgen -W "{shells}" -- "$word")) ;;
    configs) COMPREPLY=($(compgen -W "show" -- "$word")) ;;
    --model|--data) COMPREPLY=($(compgen -W "{classes}" -- "$word")) ;;
    *) case "$word" in
         -*) COMPREPLY=($(compgen -W "{flags}" -- "$word")) ;;
         *) COMPREPLY=($(compgen -f -- "$word")) ;;
       esac ;;
  esac
}}
complete -o filenames -F _{function} {program}
"""

ZSH = """\
#compdef {program}
# {program} completion; put this into a file named _{program} on your $fpath.
_{function}() {{
  if (( CURRENT == 2 )); then
    compadd -- {verbs} --help --version
    return
  fi
  case "${{words[CURRENT-1]}}" in
    --config|-c|show) compadd -- {configs}; _files ;;
    benchmark) compadd -- {recipes}; _files ;;
    completion) compadd -- {shells} ;;
    configs) compadd -- show ;;
    --model|--data) compadd -- {classes} ;;
    *) if [[ "${{words[CURRENT]}}" == -* ]]; then compadd -- {flags}; else _files; fi ;;
  esac
}}
compdef _{function} {program}
"""


def script(app: App, shell: str) -> str:
    """The completion script of `app` for `shell` ("bash" or "zsh")."""
    template = {"bash": BASH, "zsh": ZSH}[shell]
    return template.format(
        program=app.program,
        function=app.program.replace("-", "_"),
        verbs=" ".join([*app.summaries(), "configs", "completion"]),
        configs=" ".join(names.available(app.folder("configs"))),
        recipes=" ".join(names.available(app.folder("recipes"))),
        classes=" ".join(app.classes),
        shells=" ".join(SHELLS),
        flags=" ".join(FLAGS),
    )
